"""Journal → sft and traces: rows, splits, and files that are whole or not there."""

from __future__ import annotations

import hashlib
import json
import os
import unicodedata
from collections import Counter
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Literal

import pyarrow as pa
import pyarrow.parquet as pq
from rapidfuzz.distance import Levenshtein

from cai.records import Failure, Prompt, RevisionChain, messages_as_data

Split = Literal["train", "test"]
SPLITS: tuple[Split, ...] = ("train", "test")
SPLIT_SALT = "cai split 1"
ROW_GROUP = 1000

_MESSAGES = pa.list_(pa.struct([("role", pa.string()), ("content", pa.string())]))
SFT = pa.schema(
    [
        ("id", pa.string()),
        ("prompt", _MESSAGES),
        ("completion", _MESSAGES),
        ("target", pa.string()),
        ("step", pa.int32()),
        ("principle_ids", pa.list_(pa.string())),
        ("prompt_kind", pa.string()),
    ]
)
_STEP = pa.struct(
    [
        ("step", pa.int32()),
        ("principle_id", pa.string()),
        ("critique", pa.string()),
        ("p_change", pa.float64()),
        ("order_gap", pa.float64()),
        ("label_mass", pa.float64()),
        ("revision", pa.string()),
        ("removed", pa.list_(pa.string())),
        ("edit_distance", pa.float64()),
    ]
)
TRACES = pa.schema(
    [
        ("id", pa.string()),
        ("prompt", _MESSAGES),
        ("prompt_kind", pa.string()),
        ("group", pa.string()),
        ("source", pa.string()),
        ("licence", pa.string()),
        ("tags", pa.list_(pa.string())),
        ("response", pa.string()),
        ("steps", pa.list_(_STEP)),
        ("final", pa.string()),
        ("target", pa.string()),
        ("edit_distance", pa.float64()),
    ]
)


def split_of(prompt: Prompt, test_share: float) -> Split:
    """The split of a prompt: a hash of its group, else of its first human turn, normalised.

    Ids play no part, and a larger share only moves prompts from train to test.
    """
    if prompt.group is not None:
        key = f"group {prompt.group}"
    else:
        text = unicodedata.normalize("NFKC", prompt.first_human_turn).casefold()
        key = f"text {' '.join(text.split())}"
    drawn = hashlib.sha256(f"{SPLIT_SALT} {key}".encode()).digest()
    return "test" if int.from_bytes(drawn[:7], "big") / 2**56 < test_share else "train"


def edit_distance(before: str, after: str) -> float:
    """Word-level Levenshtein distance over the longer length: 0 the same, 1 all new."""
    return float(Levenshtein.normalized_distance(before.split(), after.split()))


def target_of(chain: RevisionChain) -> str:
    """What the final text is: a `revision`, `unchanged` after a look, or the plain `response`."""
    if not chain.steps:
        return "response"
    return "unchanged" if chain.final == chain.response else "revision"


def sft_rows(chain: RevisionChain, steps: Literal["final", "all"]) -> Iterator[dict[str, Any]]:
    """The training rows of a chain: its final text, or each of its revisions.

    A revision that leaves the text as it was is no row of its own.
    """
    texts, target = chain.texts, target_of(chain)
    last = len(texts) - 1
    numbers = [last]
    if steps == "all" and target == "revision":
        numbers = [n for n in range(1, last + 1) if texts[n] != texts[n - 1]]
    for number in numbers:
        principles = [s.principle_id for s in chain.steps[: max(number, 1)]]
        yield {
            "id": chain.prompt.id if number == numbers[-1] else f"{chain.prompt.id}#{number}",
            "prompt": messages_as_data(chain.prompt.messages),
            "completion": [{"role": "assistant", "content": texts[number]}],
            "target": target,
            "step": number,
            "principle_ids": principles,
            "prompt_kind": chain.prompt.kind,
        }


def trace_row(chain: RevisionChain) -> dict[str, Any]:
    """Everything a chain went through."""
    prompt, steps, text = chain.prompt, [], chain.response
    for number, step in enumerate(chain.steps, 1):
        after = text if step.revision is None else step.revision
        verdict = step.verdict.model_dump() if step.verdict else {}
        steps.append(
            {
                "step": number,
                "principle_id": step.principle_id,
                "critique": step.critique,
                **verdict,
                "revision": step.revision,
                "removed": list(step.removed),
                "edit_distance": edit_distance(text, after),
            }
        )
        text = after
    return {
        "id": prompt.id,
        "prompt": messages_as_data(prompt.messages),
        "prompt_kind": prompt.kind,
        "group": prompt.group,
        "source": prompt.source,
        "licence": prompt.licence,
        "tags": list(prompt.tags),
        "response": chain.response,
        "steps": steps,
        "final": chain.final,
        "target": target_of(chain),
        "edit_distance": edit_distance(chain.response, chain.final),
    }


def write_datasets(
    folder: Path,
    outcomes: Iterable[RevisionChain | Failure],
    *,
    sft_steps: Literal["final", "all"],
    test_share: float,
) -> Counter[str]:
    """Write `sft/`, `traces/` and `failures.jsonl` from chains in prompt order, and count rows.

    All files are written under temporary names and synced before the first is renamed.
    """
    counts: Counter[str] = Counter()
    sft, traces = _Table(folder / "sft", SFT), _Table(folder / "traces", TRACES)
    failures = folder / ".failures.jsonl.tmp"
    try:
        with failures.open("w", encoding="utf-8") as file:
            for outcome in outcomes:
                if isinstance(outcome, Failure):
                    record = outcome.model_dump(mode="json", exclude_none=True)
                    file.write(json.dumps(record, ensure_ascii=False) + "\n")
                    counts["failures"] += 1
                    continue
                split = split_of(outcome.prompt, test_share)
                for row in sft_rows(outcome, sft_steps):
                    sft.add(split, row)
                    counts[f"sft.{split}"] += 1
                traces.add(split, trace_row(outcome))
                counts[f"traces.{split}"] += 1
                counts[f"target.{target_of(outcome)}"] += 1
            file.flush()
            os.fsync(file.fileno())
        sft.finish()
        traces.finish()
    finally:
        sft.close()
        traces.close()
    sft.publish()
    traces.publish()
    publish(failures, folder / "failures.jsonl")
    return counts


class _Table:
    """The Parquet files of one dataset, a file per split, written a row group at a time."""

    def __init__(self, folder: Path, schema: pa.Schema) -> None:
        self._folder, self._schema = folder, schema
        self._rows: dict[Split, list[dict[str, Any]]] = {split: [] for split in SPLITS}
        self._writers: dict[Split, pq.ParquetWriter] = {}
        folder.mkdir(exist_ok=True)

    def _temporary(self, split: Split) -> Path:
        return self._folder / f".{split}.parquet.tmp"

    def add(self, split: Split, row: dict[str, Any]) -> None:
        self._rows[split].append(row)
        if len(self._rows[split]) == ROW_GROUP:
            self._flush(split)

    def _flush(self, split: Split) -> None:
        if split not in self._writers:
            self._writers[split] = pq.ParquetWriter(
                self._temporary(split), self._schema, compression="zstd"
            )
        self._writers[split].write_table(
            pa.Table.from_pylist(self._rows[split], schema=self._schema), row_group_size=ROW_GROUP
        )
        self._rows[split].clear()

    def finish(self) -> None:
        """Write what is left and see it to the disk."""
        for split in SPLITS:
            if self._rows[split]:
                self._flush(split)
        self.close()
        for split in self._writers:
            with self._temporary(split).open("rb") as file:
                os.fsync(file.fileno())

    def close(self) -> None:
        for writer in self._writers.values():
            writer.close()

    def publish(self) -> None:
        """Put the new files in place; a split that is empty now leaves no file."""
        for split in SPLITS:
            final = self._folder / f"{split}.parquet"
            if split in self._writers:
                publish(self._temporary(split), final)
            else:
                final.unlink(missing_ok=True)


def publish(temporary: Path, final: Path) -> None:
    """Rename a synced file into place and sync its folder."""
    temporary.replace(final)
    folder = os.open(final.parent, os.O_RDONLY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)


@contextmanager
def replacing(final: Path) -> Iterator[Any]:
    """A text file that takes the place of `final` when the block ends without an error."""
    temporary = final.with_name(f".{final.name}.tmp")
    with temporary.open("w", encoding="utf-8") as file:
        yield file
        file.flush()
        os.fsync(file.fileno())
    publish(temporary, final)
