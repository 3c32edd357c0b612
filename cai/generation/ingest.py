"""What a run is made from: the method, the model, the prompts."""

from __future__ import annotations

from pathlib import Path

from cai.config import Settings
from cai.generation.tombstones import Living
from cai.method import Method
from cai.prompts import Intake, source_digest
from cai.records import digest
from cai.runtime.journal import Journal
from cai.runtime.progress import Progress, counted
from cai.setting_keys import PROMPT_KEYS


def run_folder(method: Method, out: str | Path | None) -> Path:
    """Where a run goes: `out`, else a folder with the constitution's name."""
    return Path(out) if out is not None else Path("outputs") / method.constitution.name


def ingest(
    journal: Journal,
    settings: Settings,
    progress: Progress,
    tombstones: frozenset[str] = frozenset(),
) -> dict[str, int]:
    """Stage the prompts of the settings in a journal; return how many were left out, by reason.

    Args:
        journal: Where they are staged.
        settings: They name the prompts.
        progress: Told of rows that cannot be used.
        tombstones: Digests of texts that were forgotten and are not taken in again.

    Raises:
        CaiError: They cannot be read, or too many of them cannot be used.
    """
    intake = Intake(
        settings.prompts, settings.prompt_column, settings.unnamed_kind, settings.ignore_columns
    )
    living = Living(counted(intake, progress), tombstones)
    duplicates = journal.ingest(living, settings.limit, settings.shard, renamed=intake.renamed)
    remedy = "To do without these rows: --max-bad-rows SHARE, with a larger share."
    intake.bad.check(settings.max_bad_rows, remedy)
    if intake.bad.bad:
        lines = [intake.bad.summary(), *intake.bad.lines(), "failures.jsonl has them all."]
        progress.warn("\n".join(lines))
    return {"duplicates": duplicates, **({"forgotten": n} if (n := living.forgotten) else {})}


def digest_of_prompts(settings: Settings, last: Settings | None = None) -> str | None:
    """Digest of the prompts that settings name; None: as `last`, whose prompts have been copied.

    Files are compared by content. A dataset on the Hub is read once per run folder: going on needs
    no network, and another revision is another name.
    """
    name = settings.prompts.removeprefix("hf:")
    on_hub = name != settings.prompts and not Path(name.split(":")[0]).is_dir()
    if last is not None and on_hub:
        names = {key: getattr(settings, key) for key in PROMPT_KEYS}
        if names == {key: getattr(last, key) for key in PROMPT_KEYS}:
            return None
    read = source_digest(
        settings.prompts,
        prompt_column=settings.prompt_column,
        kind=settings.unnamed_kind,
        ignore_columns=list(settings.ignore_columns) or None,
    )
    return digest([read, settings.limit, *([settings.shard] if settings.shard else [])])
