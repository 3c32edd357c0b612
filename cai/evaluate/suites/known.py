"""The suites of the field: where each is had, and what its columns say.

Nothing of theirs is shipped. A row is told by its columns; where a suite keeps harmful and safe
prompts in files of one form, the file's name says which they are.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

from cai.errors import CaiError, InputError
from cai.evaluate.instructions import instructions_of
from cai.evaluate.suites.labels import named_label, xstest_label
from cai.sources.bad_rows import RowError
from cai.sources.conversations import answered, check_answers
from cai.sources.wording import a_kind_of

Row = Mapping[str, Any]
_OR_BENCH = re.compile(r"\bor[-_ ]?bench(?![a-z])")
Fields = dict[str, Any]  # of `SuiteItem`, with `id`, `messages` or `text` for its prompt


class Known(NamedTuple):
    """A suite of the field.

    Attributes:
        name: As its authors call it.
        where: Where it is had.
        licence: Of its prompts.
        measures: What it measures.
        columns: All of them are there, in lower case.
        read: The fields of an item, from a row with names in lower case, its place, and the name
            of the file.
        also: Other columns that it may have in their place.
    """

    name: str
    where: str
    licence: str
    measures: str
    columns: frozenset[str]
    read: Callable[[Row, str, str], Fields]
    also: frozenset[str] | None = None


def known_suite(row: Row, file: str) -> Known | None:
    """The suite that has the columns of a row; None where it is none of them.

    A file of one's own may well have those of OR-Bench and of MT-Bench on the Hub: the one has to
    be called so, and of the other each prompt is a list.
    """
    names = {name.lower() for name in row}
    for suite in KNOWN:
        if suite.columns <= names:
            own = suite.read is _or_bench and not _OR_BENCH.search(file.lower())
            return None if own else suite
        if suite.also is not None and suite.also <= names and isinstance(row.get("prompt"), list):
            return suite
    return None


def _text(row: Row, name: str, where: str) -> str:
    value = row.get(name)
    if not isinstance(value, str):
        raise RowError(f"{where}: {name}", "empty prompt", f"must be text, not {a_kind_of(value)}")
    if not value.strip():
        raise RowError(f"{where}: {name}", "empty prompt", "there is nothing in it")
    return value


def _xstest(row: Row, where: str, file: str) -> Fields:
    kind = _text(row, "type", where)
    label = xstest_label(kind)
    if label is None:
        raise RowError(f"{where}: type", "bad field", f"{kind!r} is no type of XSTest")
    if row.get("label") not in (None, "", label):
        message = f"label {row['label']!r} does not go with the type {kind!r}"
        raise RowError(f"{where}: label", "bad field", message)
    return {
        "id": row.get("id") or row.get("id_v2") or row.get("id_v1"),
        "text": _text(row, "prompt", where),
        "label": label,
        "category": kind,
        "twin_of": (kind.removeprefix("contrast_"), row.get("focus")),
    }


def _jailbreakbench(row: Row, where: str, file: str) -> Fields:
    label = named_label(row, file, where, {"harmful": "unsafe", "benign": "safe"})
    number = row.get("index")
    if number in (None, ""):
        raise RowError(f"{where}: index", "no column", "there is no index")
    return {
        "id": f"jbb-{'harmful' if label == 'unsafe' else 'benign'}-{number}",
        "text": _text(row, "goal", where),
        "label": label,
        "category": row.get("category"),
        "pair": f"jbb-{number}",
    }


def _harmbench(row: Row, where: str, file: str) -> Fields:
    context, text = row.get("contextstring"), _text(row, "behavior", where)
    if isinstance(context, str) and context.strip():
        text = f"{context}\n\n---\n\n{text}"
    return {
        "id": row.get("behaviorid"),
        "text": text,
        "label": "unsafe",
        "category": row.get("semanticcategory"),
    }


def _strongreject(row: Row, where: str, file: str) -> Fields:
    text = _text(row, "forbidden_prompt", where)
    return {"text": text, "label": "unsafe", "category": row.get("category")}


def _do_not_answer(row: Row, where: str, file: str) -> Fields:
    text, number = _text(row, "question", where), row.get("id")
    category = row.get("risk_area")
    return {"id": number, "text": text, "label": "unsafe", "category": category}


def _or_bench(row: Row, where: str, file: str) -> Fields:
    label = named_label(row, file, where, {"toxic": "unsafe", "hard": "safe", "80k": "safe"})
    text = _text(row, "prompt", where)
    return {"text": text, "label": label, "category": row.get("category")}


def _bbq(row: Row, where: str, file: str) -> Fields:
    options = tuple(_text(row, f"ans{n}", where) for n in range(3))
    asked = f"{_text(row, 'context', where)} {_text(row, 'question', where)}"
    letters = "\n".join(f"({'ABC'[n]}) {option}" for n, option in enumerate(options))
    given = row.get("label")
    whole = not isinstance(given, bool) and str(given).removesuffix(".0") in ("0", "1", "2")
    target = int(float(given)) if whole else -1  # type: ignore[arg-type]
    if not whole:
        message = f"must be 0, 1 or 2, not {row.get('label')!r}"
        raise RowError(f"{where}: label", "bad field", message)
    number = row.get("example_id")
    return {
        "id": None if number in (None, "") else f"bbq-{row.get('category')}-{number}",
        "text": f"{asked}\n\n{letters}\n\nReply with the letter of the right answer.",
        "category": row.get("category"),
        "options": options,
        "target": target,
        "score": "choice",
    }


def _ifeval(row: Row, where: str, file: str) -> Fields:
    names, given = row.get("instruction_id_list"), row.get("kwargs")
    if not isinstance(names, list) or not isinstance(given, list):
        message = "must be lists of types and of arguments"
        raise RowError(f"{where}: instruction_id_list", "bad field", message)
    try:
        instructions = tuple(instructions_of(names, given))
    except CaiError as error:
        raise InputError(f"{where}: instruction_id_list", error.message, error.hint) from None
    number = row.get("key")
    return {
        "id": None if number in (None, "") else f"ifeval-{number}",
        "text": _text(row, "prompt", where),
        "instructions": instructions,
        "score": "instructions",
    }


def _mt_bench(row: Row, where: str, file: str) -> Fields:
    """The first of two turns: the second is about an answer that is not there yet."""
    turns = row.get("turns", row.get("prompt"))  # as FastChat has it, and as the Hub
    if not isinstance(turns, list) or not turns or not isinstance(turns[0], str):
        raise RowError(f"{where}: turns", "bad field", "must be a list of texts")
    reference = row.get("reference")
    first = reference[0] if isinstance(reference, list) and reference else None
    number = next((row[n] for n in ("question_id", "prompt_id") if row.get(n) is not None), None)
    return {
        "id": None if number in (None, "") else f"mt-bench-{number}",
        "text": turns[0],
        "category": row.get("category"),
        "reference": first if isinstance(first, str) else None,
        "score": "helpful",
    }


def _hh(row: Row, where: str, file: str) -> Fields:
    turns, answers = answered(row, ("chosen", "rejected"), where)
    check_answers(answers[:1], where)
    return {"messages": turns, "reference": answers[0], "score": "answer"}


KNOWN = (
    Known(
        "XSTest",
        "github.com/paul-rottger/xstest (xstest_prompts.csv)",
        "CC-BY-4.0",
        "over-refusal, and harm in its contrasts",
        frozenset({"prompt", "type", "focus"}),
        _xstest,
    ),
    Known(
        "HarmBench",
        "github.com/centerforaisafety/HarmBench (data/behavior_datasets)",
        "MIT",
        "harm",
        frozenset({"behavior", "semanticcategory", "behaviorid"}),
        _harmbench,
    ),
    Known(
        "JailbreakBench",
        "hf:JailbreakBench/JBB-Behaviors (behaviors: harmful, benign)",
        "MIT",
        "harm, over-refusal, and the gap between twins",
        frozenset({"index", "goal", "behavior", "category"}),
        _jailbreakbench,
    ),
    Known(
        "StrongREJECT",
        "github.com/alexandrasouly/strongreject (strongreject_dataset.csv)",
        "MIT",
        "harm",
        frozenset({"category", "source", "forbidden_prompt"}),
        _strongreject,
    ),
    Known(
        "Do-Not-Answer",
        "hf:LibrAI/do-not-answer",
        "CC-BY-NC-SA-4.0",
        "harm",
        frozenset({"risk_area", "types_of_harm", "question"}),
        _do_not_answer,
    ),
    Known(
        "BBQ",
        "github.com/nyu-mll/BBQ (data/*.jsonl)",
        "CC-BY-4.0",
        "right options where a stereotype suggests another",
        frozenset({"context", "question", "ans0", "ans1", "ans2", "label"}),
        _bbq,
    ),
    Known(
        "IFEval",
        "hf:google/IFEval",
        "Apache-2.0",
        "instructions that a program can tell",
        frozenset({"prompt", "instruction_id_list", "kwargs"}),
        _ifeval,
    ),
    Known(
        "MT-Bench",
        "hf:HuggingFaceH4/mt_bench_prompts, or FastChat's question.jsonl",
        "Apache-2.0",
        "helpfulness (the first turn)",
        frozenset({"category", "turns"}),
        _mt_bench,
        frozenset({"category", "prompt", "prompt_id", "reference"}),
    ),
    Known(
        "HH",
        "hf:Anthropic/hh-rlhf",
        "MIT",
        "the loss on `chosen`, for local models",
        frozenset({"chosen", "rejected"}),
        _hh,
    ),
    # The last: its columns are not many.
    Known(
        "OR-Bench",
        "hf:bench-llm/or-bench (or-bench-80k, or-bench-hard-1k, or-bench-toxic)",
        "CC-BY-4.0",
        "over-refusal; harm in or-bench-toxic",
        frozenset({"prompt", "category"}),
        _or_bench,
    ),
)
