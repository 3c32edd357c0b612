"""Journal → sft, preferences and traces: rows, splits, and files that are whole or not there."""

from __future__ import annotations

import hashlib
import json
import os
import unicodedata
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Literal

import pyarrow as pa
import pyarrow.parquet as pq
from rapidfuzz.distance import Levenshtein

from cai.method import Method
from cai.records import (
    Failure,
    Pair,
    PreferenceLabel,
    Prompt,
    RevisionChain,
    Row,
    messages_as_data,
)
from cai.statistics import tempered

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
        ("verified", pa.bool_()),
        ("prompt_kind", pa.string()),
    ]
)
PREFERENCES = pa.schema(
    [
        ("id", pa.string()),
        ("prompt", _MESSAGES),
        ("chosen", _MESSAGES),
        ("rejected", _MESSAGES),
        ("chosen_probability", pa.float64()),
        ("pair_source", pa.string()),
        ("order_gap", pa.float64()),
        ("label_mass", pa.float64()),
        ("principle_ids", pa.list_(pa.string())),
        ("judge", pa.string()),
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
_JUDGEMENT = pa.struct(
    [
        ("principle_id", pa.string()),
        ("q_ab", pa.float64()),
        ("q_ba", pa.float64()),
        ("label_mass", pa.float64()),
        ("method", pa.string()),
        ("reasoning", pa.list_(pa.string())),
    ]
)
_PAIR = pa.struct(
    [
        ("source", pa.string()),
        ("response_a", pa.string()),
        ("response_b", pa.string()),
        ("p_a", pa.float64()),
        ("order_gap", pa.float64()),
        ("label_mass", pa.float64()),
        ("judgements", pa.list_(_JUDGEMENT)),
        ("dropped", pa.string()),
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
        ("verified", pa.bool_()),
        ("pairs", pa.list_(_PAIR)),
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


def sft_rows(row: Row, method: Method) -> Iterator[dict[str, Any]]:
    """The training rows of a row: its final text, or each of its revisions.

    A revision that leaves the text as it was is no row of its own, and a final revision that a
    usable judge finds worse than the first answer is none either.
    """
    chain = row.chain
    if chain is None or "sft" not in method.settings.stages:
        return
    texts, target = chain.texts, target_of(chain)
    last = len(texts) - 1
    numbers = [last]
    if method.settings.sft_steps == "all" and target == "revision":
        numbers = [n for n in range(1, last + 1) if texts[n] != texts[n - 1]]
    verified = row.verified(method.judge.usable)
    for number in numbers:
        final = number == numbers[-1]
        if final and verified is False:
            continue
        principles = [s.principle_id for s in chain.steps[: max(number, 1)]]
        yield {
            "id": chain.prompt.id if final else f"{chain.prompt.id}#{number}",
            "prompt": messages_as_data(chain.prompt.messages),
            "completion": _answer(texts[number]),
            "target": target,
            "step": number,
            "principle_ids": principles,
            "verified": verified if final else None,
            "prompt_kind": chain.prompt.kind,
        }


def _answer(text: str) -> list[dict[str, str]]:
    return [{"role": "assistant", "content": text}]


def chosen_probability(label: PreferenceLabel, temperature: float = 1.0) -> float:
    """The probability of the preferred answer, at the temperature of a calibration."""
    return tempered(max(label.p_a, label.swap().p_a), temperature)


def why_dropped(pair: Pair, method: Method) -> str | None:
    """Why a pair is no row of `preferences`: it is none, inconsistent, or below the margin."""
    if pair.label is None:
        return pair.dropped
    if not pair.label.consistent:
        return "inconsistent"
    probability = chosen_probability(pair.label, method.judge.temperature)
    # Far from 1 a temperature can leave no margin at all.
    if probability <= 0.5 or 2 * probability - 1 < method.settings.min_margin:
        return "margin"
    return None


def preference_rows(row: Row, method: Method, judge: str) -> Iterator[dict[str, Any]]:
    """The consistent labels of a row, the preferred answer as `chosen`."""
    for pair in row.pairs:
        label = pair.label
        if label is None or why_dropped(pair, method) is not None:
            continue
        yield {
            "id": f"{row.prompt.id}#{pair.source}",
            "prompt": messages_as_data(row.prompt.messages),
            "chosen": _answer(label.chosen),
            "rejected": _answer(label.rejected),
            "chosen_probability": chosen_probability(label, method.judge.temperature),
            "pair_source": pair.source,
            "order_gap": label.order_gap,
            "label_mass": label.label_mass,
            "principle_ids": [j.principle_id for j in label.judgements],
            "judge": judge,
            "prompt_kind": row.prompt.kind,
        }


def trace_row(row: Row, method: Method) -> dict[str, Any] | None:
    """Everything a row went through; None where nothing came of it."""
    if row.chain is None and not row.pairs:
        return None
    prompt = row.prompt
    return {
        "id": prompt.id,
        "prompt": messages_as_data(prompt.messages),
        "prompt_kind": prompt.kind,
        "group": prompt.group,
        "source": prompt.source,
        "licence": prompt.licence,
        "tags": list(prompt.tags),
        **(_chain_columns(row.chain) if row.chain is not None else {}),
        "verified": row.verified(method.judge.usable),
        "pairs": [_pair_data(pair, method) for pair in row.pairs],
    }


def _chain_columns(chain: RevisionChain) -> dict[str, Any]:
    steps, text = [], chain.response
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
        "response": chain.response,
        "steps": steps,
        "final": chain.final,
        "target": target_of(chain),
        "edit_distance": edit_distance(chain.response, chain.final),
    }


def _pair_data(pair: Pair, method: Method) -> dict[str, Any]:
    label = pair.label
    scores = {}
    if label is not None:
        scores = {
            "p_a": label.p_a,
            "order_gap": label.order_gap,
            "label_mass": label.label_mass,
            "judgements": [j.model_dump() for j in label.judgements],
        }
    return {
        "source": pair.source,
        "response_a": pair.comparison.response_a,
        "response_b": pair.comparison.response_b,
        **scores,
        "dropped": why_dropped(pair, method),
    }


def write_datasets(
    folder: Path, outcomes: Iterable[Row | Failure], method: Method, judge: str = ""
) -> Counter[str]:
    """Write `sft/`, `preferences/`, `traces/` and `failures.jsonl` in prompt order; count rows.

    All files are written under temporary names and synced before the first is renamed.
    """
    counts: Counter[str] = Counter()
    schemas = {"sft": SFT, "preferences": PREFERENCES, "traces": TRACES}
    tables = {name: _Table(folder / name, schema) for name, schema in schemas.items()}
    failures = folder / ".failures.jsonl.tmp"
    try:
        with failures.open("w", encoding="utf-8") as file:
            for outcome in outcomes:
                failed = [outcome] if isinstance(outcome, Failure) else outcome.failures
                for failure in failed:
                    record = failure.model_dump(mode="json", exclude_none=True)
                    file.write(json.dumps(record, ensure_ascii=False) + "\n")
                    counts["failures" if failure.pair is None else "failures.pairs"] += 1
                if isinstance(outcome, Row):
                    _add_row(outcome, method, judge, tables, counts)
            file.flush()
            os.fsync(file.fileno())
        for table in tables.values():
            table.finish()
    finally:
        for table in tables.values():
            table.close()
    for table in tables.values():
        table.publish()
    publish(failures, folder / "failures.jsonl")
    return counts


def _add_row(
    row: Row, method: Method, judge: str, tables: Mapping[str, _Table], counts: Counter[str]
) -> None:
    split = split_of(row.prompt, method.settings.test_share)
    trace = trace_row(row, method)
    found = {
        "sft": list(sft_rows(row, method)),
        "preferences": list(preference_rows(row, method, judge)),
        "traces": [trace] if trace is not None else [],
    }
    for name, rows in found.items():
        for data in rows:
            tables[name].add(split, data)
            counts[f"{name}.{split}"] += 1
    if row.chain is not None:
        counts[f"target.{target_of(row.chain)}"] += 1
    verified = row.verified(method.judge.usable)
    if verified is not None:
        counts[f"verified.{'better' if verified else 'worse'}"] += 1
    if method.sources and not method.sources_for(row.prompt):
        counts["pairs.no principle"] += 1
    for pair in row.pairs:
        counts[f"pairs.{pair.source}.{why_dropped(pair, method) or 'labelled'}"] += 1


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
