"""The formats by name."""

from __future__ import annotations

from cai.publish.formats.axolotl import AXOLOTL
from cai.publish.formats.llama_factory import LLAMA_FACTORY
from cai.publish.formats.nemo_rl import NEMO_RL
from cai.publish.formats.openrlhf import OPENRLHF
from cai.publish.formats.own import JSONL, PARQUET
from cai.publish.formats.trl import HANDBOOK, KTO, TRL

FORMATS = {
    form.name: form
    for form in (
        *(AXOLOTL, HANDBOOK, LLAMA_FACTORY, OPENRLHF, NEMO_RL),
        *(KTO, TRL, JSONL, PARQUET),
    )
}
