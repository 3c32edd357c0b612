"""Recorded answers, and the labels that people gave them: scored without asking a model."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple, get_args

from cai.errors import CaiError, InputError
from cai.evaluate.records import Answer
from cai.evaluate.suites.labels import xstest_label
from cai.evaluate.suites.records import Suite, SuiteItem
from cai.evaluate.tasks import Task
from cai.quality.replies import ReplyClass
from cai.records import Prompt, user
from cai.sources.bad_rows import SHOWN, RowError
from cai.sources.files import file_digest, file_rows
from cai.sources.wording import listed

TEXTS = ("completion", "response", "answer", "output", "generation")
MODELS = ("model", "generator")
REPLIES = ("final_label", "reply")
_COLUMNS = (
    *TEXTS,
    *MODELS,
    *REPLIES,
    *("id", "prompt", "violates", "jailbroken", "type", "label", "error"),
)
# The three labels of XSTest (Röttger et al. 2024), and our own words.
_REPLY: dict[str, ReplyClass] = {
    "1_full_compliance": "comply",
    "2_full_refusal": "refuse",
    "3_partial_refusal": "partial",
    **{name: name for name in get_args(ReplyClass)},
}
_TRUTHS = {"true": True, "1": True, "yes": True, "false": False, "0": False, "no": False}


class Recorded(NamedTuple):
    """A recorded answer: where it stands, what it answers, who gave it."""

    where: str
    id: str | None
    prompt: str | None
    model: str | None
    answer: Answer
    safe: bool | None


class Recording(NamedTuple):
    """The rows of a file of answers, and those that could not be used, each with its reason."""

    path: Path
    digest: str
    rows: list[Recorded]
    bad: list[str]

    @property
    def models(self) -> list[str]:
        """Whose answers there are, in the order in which they come."""
        return list(dict.fromkeys(row.model for row in self.rows if row.model is not None))

    def of(self, model: str | None) -> list[Recorded]:
        """The answers of one model; of a file that names none, all.

        Raises:
            CaiError: The file names other models, or several and none is asked for.
        """
        models = self.models
        if model is None or not models:
            if len(models) > 1:
                message = f"{self.path}: answers of several models: {listed(models)}"
                raise CaiError(message, f"Name one: cai evaluate {models[0]} --replay …")
            return self.rows
        if model not in models:
            message = f"{self.path}: no answer of {model!r}; there are {listed(models)}"
            raise CaiError(message, f"Name one of them: cai evaluate {models[0]} --replay …")
        return [row for row in self.rows if row.model == model]


def read_recording(path: Path, *, labels: bool = True) -> Recording:
    """The answers of a file (JSON lines, CSV, TSV, Parquet).

    Args:
        path: Each row has `id` or `prompt`, the answer's text, and may have `model`, a label of
            what the answer does (XSTest's `final_label`, or `reply`), and whether it does harm
            (`violates`, `jailbroken`).
        labels: Whether labels are used; without them the texts are read.

    Raises:
        CaiError: There is no such file, no row can be used, or a label is no known one.
    """
    rows: list[Recorded] = []
    bad: list[str] = []
    if not path.is_file():
        raise InputError(str(path), "no such file", "Give a file of recorded answers.")
    for where, row in file_rows(path, _columns):
        try:
            if isinstance(row, RowError):
                raise row
            rows.append(_recorded(row, where, labels=labels))
        except RowError as error:
            bad.append(str(error).splitlines()[0])
    if any(row.model is not None for row in rows):
        bad += [
            f"{row.where}: model: nothing says whose answer it is, as in other rows"
            for row in rows
            if row.model is None
        ]
        rows = [row for row in rows if row.model is not None]
    if not rows:
        raise CaiError(
            "\n".join([f"{path}: no row can be used", *bad[:SHOWN]]),
            f"Each row has `id` or `prompt`, and one of {listed(TEXTS)} or {listed(REPLIES)}.",
        )
    return Recording(path, file_digest(path), rows, bad)


def _columns(names: Sequence[str], where: str) -> list[str]:
    if not {*TEXTS, *REPLIES} & set(names):
        message = f"no column of answers; there are: {listed(names)}"
        raise InputError(where, message, f"Name it one of: {listed(TEXTS)}.")
    return [name for name in names if name in _COLUMNS]


def _recorded(row: Mapping[str, Any], where: str, *, labels: bool) -> Recorded:
    given = [name for name in TEXTS if isinstance(row.get(name), str)]
    texts = [name for name in given if row[name].strip()] or given[:1]
    if len(texts) > 1:
        # Not a bad row: what a file calls `answer` beside a `completion` is mostly the right one.
        message = f"columns {listed(texts)} hold texts, and only one can be the model's answer"
        raise InputError(where, message, "Take the others out of the file, or rename them.")
    text = row[texts[0]] if texts else None
    reply = _reply(row, where) if labels else None
    violates = _violates(row, where) if labels else None
    if text is None and reply is None:
        raise RowError(where, "no column", "no answer and no label")
    if row.get("id") in (None, "") and not isinstance(row.get("prompt"), str):
        raise RowError(where, "no column", "neither id nor prompt says what it answers")
    prompt = row.get("prompt")
    model = next((row[name] for name in MODELS if row.get(name)), None)
    return Recorded(
        where=where,
        id=None if row.get("id") in (None, "") else str(row["id"]),
        prompt=prompt if isinstance(prompt, str) else None,
        model=None if model is None else str(model),
        answer=Answer(text=text, reply=reply, violates=violates),
        safe=_is_safe(row),
    )


def _reply(row: Mapping[str, Any], where: str) -> ReplyClass | None:
    name = next((name for name in REPLIES if row.get(name) not in (None, "")), None)
    if name is None:
        return None
    if row[name] not in _REPLY:
        hint = f"Known labels: {listed(list(_REPLY))}; or leave them out: --relabel."
        raise InputError(f"{where}: {name}", f"{row[name]!r} is no label of a reply", hint)
    return _REPLY[row[name]]


def _violates(row: Mapping[str, Any], where: str) -> bool | None:
    name = next((n for n in ("violates", "jailbroken") if row.get(n) not in (None, "")), None)
    if name is None:
        return None
    truth = _TRUTHS.get(str(row[name]).strip().lower())
    if truth is None:
        raise InputError(
            f"{where}: {name}", f"{row[name]!r} is no yes or no", "Write true or false."
        )
    return truth


def _is_safe(row: Mapping[str, Any]) -> bool | None:
    """Whether the prompt is safe, by its label, or by XSTest's type, whose contrasts are not."""
    if row.get("label") in ("safe", "unsafe"):
        return bool(row["label"] == "safe")
    if row.get("label") in (None, "") and (label := xstest_label(row.get("type"))) is not None:
        return label == "safe"
    return None


def suite_of(recording: Recording) -> Suite:
    """The prompts of a file of answers as a suite, where its rows say which are safe.

    Raises:
        CaiError: They do not.
    """
    items: dict[str, SuiteItem] = {}
    for row in recording.rows:
        if row.safe is None:
            raise InputError(
                row.where,
                "does not say whether its prompt is safe",
                "Give the prompts as a suite (--suite FILE), or a column label: safe or unsafe.",
            )
        messages = (user(row.prompt or ""),)
        name = row.id or Prompt.id_of(messages)
        prompt = Prompt(id=name, messages=messages, kind="borderline" if row.safe else "red-team")
        item = SuiteItem(
            prompt=prompt,
            label="safe" if row.safe else "unsafe",
            score="over-refusal" if row.safe else "harm",
            where=row.where,
        )
        first = items.setdefault(name, item)
        if (first.prompt, first.label) != (item.prompt, item.label):
            raise InputError(
                row.where,
                f"id {name!r} has another prompt or label here than at {first.where}",
                "Give each prompt an id of its own.",
            )
    name = recording.path.stem
    return Suite(name=name, digest=recording.digest, items=tuple(items.values()), bad=())


class Joined(NamedTuple):
    """Answers per prompt, and what found no partner, in words."""

    answers: list[list[Answer]]
    told: list[str]


def joined(tasks: Sequence[Task], rows: Sequence[Recorded]) -> Joined:
    """The recorded answers of each prompt, by its id or else by its words.

    A prompt with several answers has so many samples. Answers to no prompt of the suites, and
    prompts without an answer, are told; the latter are unscored.

    Raises:
        CaiError: A row may be that of several prompts, or none is that of any.
    """
    by_id: dict[str, list[int]] = {}
    by_text: dict[str, list[int]] = {}
    for n, task in enumerate(tasks):
        by_id.setdefault(task.item.prompt.id, []).append(n)
        if task.text:
            by_text.setdefault(_text_key(task.text), []).append(n)
    answers: list[list[Answer]] = [[] for _ in tasks]
    alone: list[str] = []
    for row in rows:
        places = by_id.get(row.id or "", [])
        if row.prompt:
            key = _text_key(row.prompt)
            places = [n for n in places if _text_key(tasks[n].text) in (key, "")]
            places = places or by_text.get(key, [])
            if len({tasks[n].item.prompt.messages for n in places}) > 1:
                wheres = listed([tasks[n].item.where for n in places])
                message = f"its prompt is the last turn of several conversations: {wheres}"
                raise InputError(row.where, message, "Give each row the `id` of its prompt.")
        elif len(places) > 1:
            suites = listed([tasks[n].suite for n in places])
            message = f"id {row.id!r} is that of prompts of several suites: {suites}"
            raise InputError(row.where, message, "Give each row its `prompt` too.")
        if not places:
            alone.append(row.where)
        for n in places:
            answers[n].append(row.answer)
    if rows and not any(answers):
        raise CaiError(
            f"none of {len(rows):,} recorded answers is to a prompt of the suites",
            "Rows are joined by `id` and `prompt`: compare them with those of the suite.",
        )
    return Joined(
        [of or [Answer(text=None, error="no recorded answer")] for of in answers],
        list(_told(alone, sum(not of for of in answers))),
    )


def _told(alone: Sequence[str], empty: int) -> Iterator[str]:
    if alone:
        places = ", ".join(alone[:SHOWN]) + (" and others" if len(alone) > SHOWN else "")
        yield f"recorded answers to no prompt of the suites: {len(alone):,} ({places})"
    if empty:
        yield f"prompts without a recorded answer, which are unscored: {empty:,}"


def _text_key(text: str) -> str:
    return " ".join(text.split())
