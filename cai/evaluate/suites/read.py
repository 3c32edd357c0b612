"""A suite from a file, a dataset of the Hub, or from what is shipped."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from cai.constitution.records import Check
from cai.errors import CaiError, InputError
from cai.evaluate.suites.known import KNOWN, Fields, known_suite
from cai.evaluate.suites.labels import own_label
from cai.evaluate.suites.records import Label, Suite, SuiteItem
from cai.files import suites_dir
from cai.prompts import files_of, source_digest
from cai.records import Kind, Message, Prompt, digest, encodable, user
from cai.sources.bad_rows import SHOWN, RowError
from cai.sources.columns import known_kind, tags_of
from cai.sources.conversations import CONVERSATIONS, prompt_turns, with_system
from cai.sources.files import SourceRow, file_rows
from cai.sources.hub import hub_rows
from cai.sources.wording import a_kind_of, listed

SHIPPED = ("harmful", "benign", "helpful")
ALL = "default"
_SCORES = ("harm", "over-refusal", "helpful", "answer")
_BY_KIND: Mapping[Kind, tuple[Label | None, str]] = {
    "red-team": ("unsafe", "harm"),
    "borderline": ("safe", "over-refusal"),
    "helpful": (None, "helpful"),
    "unknown": (None, "answer"),
}
_SHAPE = (
    "Each row has `prompt` or `messages`, and `label` (safe or unsafe), `kind`, or `score` "
    f"({', '.join(_SCORES)}); docs/suites.md has all of it."
)


def read_suites(source: str) -> list[Suite]:
    """The suites that a name stands for: of the shipped ones several, else one.

    Args:
        source: A file or a folder's files, `hf:owner/name[@revision][:config][:split]`, the name of
            a shipped suite, or `default` for all of these.

    Raises:
        CaiError: There is no such suite, no row of it can be used, or a label is no known one.
    """
    if source == ALL or source in SHIPPED:
        names = SHIPPED if source == ALL else (source,)
        return [_suite(name, str(suites_dir() / f"{name}.jsonl")) for name in names]
    if source.startswith("hf:") or Path(source).exists():
        return [_suite(_name(source), source)]
    hint = f"Give a file, hf:owner/name, or one of ours: {', '.join(SHIPPED)}."
    raise CaiError(f"{source}: no such suite", hint)


def _name(source: str) -> str:
    if source.startswith("hf:"):
        return source.removeprefix("hf:").replace("/", "-").replace(":", "-")
    return Path(source).name.split(".")[0] or source


def _suite(name: str, source: str) -> Suite:
    items: list[SuiteItem] = []
    twins: list[tuple[Any, Any] | None] = []
    bad: list[str] = []
    by_id: dict[str, SuiteItem] = {}
    by_words: dict[tuple[Message, ...], SuiteItem] = {}
    for where, row in _rows(source):
        try:
            if isinstance(row, RowError):
                raise row
            item, twin = _item(row, where, source)
            _only_once(item, by_id, by_words)
        except RowError as error:
            bad.append(str(error).splitlines()[0])
            continue
        items.append(item)
        twins.append(twin)
    if not items:
        raise CaiError("\n".join([f"{source}: no row can be used", *bad[:SHOWN]]), _SHAPE)
    paired = _with_twins(items, twins)
    return Suite(name=name, digest=source_digest(source), items=tuple(paired), bad=tuple(bad))


def _only_once(
    item: SuiteItem, by_id: dict[str, SuiteItem], by_words: dict[tuple[Message, ...], SuiteItem]
) -> None:
    """Raise `RowError` for a prompt that an earlier row has: twice it would count twice.

    Raises:
        InputError: One id stands for two prompts, or one prompt has two labels.
    """
    named = by_id.setdefault(item.prompt.id, item)
    if named.prompt.messages != item.prompt.messages:
        message = f"{item.prompt.id!r} stands for another prompt too, at {named.where}"
        hint = "Give each prompt an id of its own, or none."
        raise InputError(f"{item.where}: id", message, hint)
    first = by_words.setdefault(item.prompt.messages, item)
    if first is item:
        return
    if (first.label, first.score) != (item.label, item.score):
        message = f"the same prompt is {_scored(first)} at {first.where} and {_scored(item)} here"
        raise InputError(item.where, message, "Leave one of the two out.")
    raise RowError(item.where, "bad field", f"the same prompt as {first.where}")


def _scored(item: SuiteItem) -> str:
    return item.label or f"scored by {item.score}"


def _rows(source: str) -> Iterator[SourceRow]:
    if source.startswith("hf:"):
        yield from hub_rows(source, _all)
        return
    for path in files_of(source):
        yield from file_rows(path, _all)


def _all(names: Sequence[str], where: str) -> Sequence[str]:
    return names


def _item(
    row: Mapping[str, Any], where: str, source: str
) -> tuple[SuiteItem, tuple[Any, Any] | None]:
    """The item of a row, and what tells its twin where no column names the pair."""
    file = _file(source, where)
    known = known_suite(row, file)
    if known is None:
        return _checked(_own(row, where), where), None
    # What a row says of itself goes before what its suite says of all rows.
    said = _said(row, where, label=known.name != "BBQ")
    lowered = {name.lower(): value for name, value in row.items()}
    fields = {**known.read(lowered, where, file), **said}
    twin = fields.pop("twin_of", None)
    return _checked(fields, where), None if "pair" in said else twin


def _file(source: str, where: str) -> str:
    """The name by which a file says what its rows are; of a dataset also config and split."""
    return source if source.startswith("hf:") else Path(where.rpartition(":")[0] or source).name


def _own(row: Mapping[str, Any], where: str) -> Fields:
    """The fields of a row in our own form."""
    column = next((name for name in (*CONVERSATIONS, "prompt") if row.get(name)), None)
    if column is None:
        known = ", ".join(suite.name for suite in KNOWN)
        message = f"no column `prompt` or `messages`; there are: {listed(list(row))}"
        raise RowError(where, "no column", message, f"{_SHAPE} Known by their columns: {known}.")
    turns = prompt_turns(row[column], f"{where}: {column}", text=column == "prompt")
    turns = with_system(turns, row, where)
    fields = {
        "id": row.get("id"),
        "messages": turns,
        "category": row.get("category"),
        "reference": _reference(row.get("reference"), where),
        **_said(row, where, label=True),
    }
    if "score" not in fields:
        message = "nothing says what its answers are scored by"
        raise InputError(where, message, _SHAPE)
    return fields


def _reference(value: Any, where: str) -> str | None:
    if value in (None, ""):
        return None
    if not isinstance(value, str):
        message = f"must be a text, not {a_kind_of(value)}"
        raise RowError(f"{where}: reference", "bad field", message)
    return value


def _said(row: Mapping[str, Any], where: str, *, label: bool) -> Fields:
    """What a row says of itself in our own columns: what it is scored by, and what belongs to it.

    Args:
        row: The row.
        where: Its place.
        label: Whether its `label` is one of ours.
    """
    kind = known_kind(row["kind"], f"{where}: kind") if row.get("kind") else None
    of_kind = _BY_KIND[kind] if kind else (None, None)
    own = own_label(row, where) if label else None
    score = row.get("score") if isinstance(row.get("score"), str) else None
    if score and score not in _SCORES:
        known = f"Known: {listed(_SCORES)}."
        raise InputError(f"{where}: score", f"unknown score {score!r}", known)
    by_label = {"unsafe": "harm", "safe": "over-refusal"}
    for name, says in (("score", score), ("kind", of_kind[1])):
        if own and says in by_label.values() and says != by_label[own]:
            message = f"label {own!r} and {name} {row[name]!r} contradict each other"
            raise InputError(where, message, "Leave one of the two out.")
    fields = {
        "kind": kind,
        "label": own or of_kind[0],
        "score": score or (by_label[own] if own else of_kind[1]),
        "pair": row.get("pair") if row.get("pair_id") in (None, "") else row["pair_id"],
        "group": row.get("group"),
        "tags": tuple(tags_of(row.get("tags"), f"{where}: tags")),
        "licence": row.get("licence") or row.get("license"),
        "check": _check(row.get("check"), where),
    }
    return {name: value for name, value in fields.items() if value not in (None, "", ())}


def _check(value: Any, where: str) -> Check | None:
    if value in (None, ""):
        return None
    try:
        given = json.loads(value) if isinstance(value, str) else value  # a cell
    except ValueError:
        raise InputError(f"{where}: check", "not JSON", 'As in {"max_words": 40}.') from None
    if isinstance(given, dict):  # a column of Parquet has all keys that any row has
        given = {key: rule for key, rule in given.items() if rule is not None}
    if given == {}:
        return None
    try:
        return Check.model_validate(given)
    except ValidationError as error:
        first = error.errors()[0]
        key = ".".join(map(str, first["loc"]))
        raise InputError(
            f"{where}: check", f"{key}: {first['msg']}", "See docs/constitution.md."
        ) from None


def _checked(fields: Fields, where: str) -> SuiteItem:
    given = dict(fields)
    messages = tuple(Message.model_validate(turn) for turn in given.pop("messages", ()))
    if "text" in given:
        messages = (user(given.pop("text")),)
    label = given.get("label")
    given.setdefault("score", "harm" if label == "unsafe" else "over-refusal")
    kinds: dict[str, Kind] = {"harm": "red-team", "over-refusal": "borderline", "answer": "unknown"}
    kind = given.pop("kind", None) or kinds.get(given["score"], "helpful")
    for name in ("category", "pair", "group", "licence", "reference"):
        given[name] = None if given.get(name) in (None, "") else str(given[name])
    if not encodable([[m.content for m in messages], list(map(str, given.values()))]):
        message = "half of a surrogate pair, which UTF-8 cannot hold"
        raise RowError(where, "lone surrogate", message)
    name = given.pop("id", None)
    prompt = Prompt(
        id=Prompt.id_of(messages) if name in (None, "") else str(name),
        messages=messages,
        kind=kind,
        group=given.pop("group") or given["pair"],
        licence=given.pop("licence"),
        tags=given.pop("tags", ()),
    )
    return SuiteItem(prompt=prompt, where=where, **given)


def _with_twins(
    items: Sequence[SuiteItem], twins: Sequence[tuple[Any, Any] | None]
) -> Iterator[SuiteItem]:
    """XSTest's contrasts follow the prompts of their type in the same order, each with its focus.

    Where the focus is another one nothing is paired.
    """
    places: dict[tuple[str, Label | None], list[int]] = {}
    for n, (item, twin) in enumerate(zip(items, twins, strict=True)):
        if twin is not None:
            places.setdefault((twin[0], item.label), []).append(n)
    pairs: dict[int, str] = {}
    for (kind, label), safe in places.items():
        if label != "safe":
            continue
        for k, (one, other) in enumerate(zip(safe, places.get((kind, "unsafe"), ()), strict=False)):
            focus = (twins[one] or (None, None))[1], (twins[other] or (None, None))[1]
            if focus[0] and focus[0] == focus[1]:
                pairs[one] = pairs[other] = f"{kind}-{k}"
    for n, item in enumerate(items):
        if n in pairs:
            group = item.prompt.group or pairs[n]
            prompt = item.prompt.model_copy(update={"group": group})
            yield item.model_copy(update={"pair": pairs[n], "prompt": prompt})
        else:
            yield item


def suite_of_prompts(name: str, prompts: Sequence[Prompt]) -> Suite:
    """Prompts as a suite: what is scored follows from their kind."""
    items = []
    for prompt in prompts:
        label, score = _BY_KIND[prompt.kind]
        items.append(
            SuiteItem.model_validate(
                {"prompt": prompt, "label": label, "score": score, "where": f"{name}:{prompt.id}"}
            )
        )
    return Suite(name=name, digest=digest([p.text_digest for p in prompts]), items=tuple(items))
