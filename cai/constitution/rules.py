"""Rules that a program checks: what a text breaks, in words that serve as its critique.

The list is closed (see `Check`), of the kind of IFEval's verifiable instructions (arXiv
2311.07911). Each rule is a function of the text alone: pure, the same on any machine, and linear in
the length of the text.
"""

from __future__ import annotations

import functools
import json
import re
from collections import Counter
from collections.abc import Callable, Iterator
from typing import Any, NoReturn

from cai.constitution import language, markup, text_units
from cai.constitution.records import Check, Principle
from cai.personal import personal_spans

# name: (how it is counted, one of it, several of it)
UNITS: dict[str, tuple[Callable[[str], int], str, str]] = {
    "words": (text_units.words, "word", "words"),
    "sentences": (text_units.sentences, "sentence", "sentences"),
    "paragraphs": (text_units.paragraphs, "paragraph", "paragraphs"),
    "characters": (text_units.characters, "character", "characters"),
}
# A pattern that cannot run as a table of states is run instruction by instruction for each
# character: this bounds the time at which that is done (`\pL{1,64}` has 25,000 instructions).
MAX_PROGRAM = 10_000
# JSON is read by recursion, so depth has to end before a stack does, on every machine alike.
MAX_DEPTH = 100

_SHOWN, _SEARCHES, _LONGEST = 3, 8, 60
_QUESTION = re.compile(r"[?？؟;՞፧⁇⁈⁉][!！]*[\s\"'”’»›)\]*_」』）】〉》]*\Z")
_PLAIN = re.compile(r"(?:\(\?i\)|\\b)*([\w ,'-]+)(?:\\b)*\Z")
# A string that is not closed is read to the end, or each quote in it would begin another try.
_BRACKETS = re.compile(r'"(?:[^"\\]|\\[\s\S])*+"?|([\[{])|([\]}])')


def finding(check: Check, text: str) -> str | None:
    """What of a check a text breaks, in plain sentences; None where the text keeps all of it.

    Each sentence says what was found and what is allowed ("84 words, at most 60."). It repeats no
    personal data. The work is linear in the length of the text.
    """
    return " ".join(_sentences(check, text)) or None


def broken(rule: Principle, text: str) -> str | None:
    """What of a principle's check a text breaks; None where it keeps it, or there is no check."""
    return finding(rule.check, text) if rule.check is not None else None


def _sentences(check: Check, text: str) -> Iterator[str]:
    yield from _counts(check, text)
    yield from _patterns(check, text)
    yield from _ends(check, text)
    yield from _marks(check, text)
    if check.language is not None:
        other = language.other_language(text, check.language)
        if other is not None:
            wanted = language.NAMES.get(check.language, f"the language {check.language}")
            named = language.NAMES.get(other, "another language")
            yield f"It is written in {named}, and must be in {wanted}."
    if check.valid_json and (error := _json_error(text)):
        yield f"It is not valid JSON as a whole: {error}."
    if check.personal_data is False and (spans := personal_spans(text)):
        kinds = Counter(span.kind for span in spans)
        listed = " and ".join(_several(n, kind, _plural(kind)) for kind, n in kinds.items())
        yield f"It holds {listed}; it must hold none."


def _counts(check: Check, text: str) -> Iterator[str]:
    for unit, (count, one, several) in UNITS.items():
        most, least = getattr(check, f"max_{unit}"), getattr(check, f"min_{unit}")
        if most is None and least is None:
            continue
        number = count(text)
        if most is not None and number > most:
            yield f"{_several(number, one, several)}, at most {most}."
        if least is not None and number < least:
            yield f"{_several(number, one, several)}, at least {least}."


def _patterns(check: Check, text: str) -> Iterator[str]:
    for pattern in check.forbid:
        matches = _first_matches(pattern, text)
        if any(matches):
            yield f"It says {' and '.join(map(_quoted, filter(None, matches)))}, which it must not."
        elif matches:
            yield f"It matches the pattern {_quoted(pattern)}, which it must not."
    for pattern in check.require:
        if not _first_matches(pattern, text):
            if plain := _PLAIN.match(pattern):
                yield f"It does not say {_quoted(plain[1])}, which it must."
            else:
                yield f"Nothing in it matches the pattern {_quoted(pattern)}; something must."


def _ends(check: Check, text: str) -> Iterator[str]:
    whole = text.strip()
    if check.starts_with is not None and not whole.startswith(check.starts_with.strip()):
        yield f"It does not begin with {_quoted(check.starts_with.strip())}, which it must."
    if check.ends_with is not None and not whole.endswith(check.ends_with.strip()):
        yield f"It does not end with {_quoted(check.ends_with.strip())}, which it must."
    if check.ends_with_question is not None:
        asks = bool(_QUESTION.search(whole[-100:]))
        if asks is not check.ends_with_question:
            yield (
                "It ends with a question, which it must not."
                if asks
                else "It does not end with a question, which it must."
            )


def _marks(check: Check, text: str) -> Iterator[str]:
    if check.lists is False and markup.has_list(text):
        yield "It has a list; it must have none."
    if check.headings is False and markup.has_heading(text):
        yield "It has a heading; it must have none."
    if check.links is False and markup.has_link(text):
        yield "It has a link; it must have none."
    if check.emoji is False and (signs := markup.emoji(text)):
        yield f"It has emoji ({' '.join(signs[:_SHOWN])}); it must have none."
    if check.exclamation_marks is False and (number := markup.exclamation_marks(text)):
        yield f"{_several(number, 'exclamation mark', 'exclamation marks')}, none allowed."


def compiled(pattern: str) -> Any:
    """A regular expression in RE2's syntax, which is matched in linear time.

    Raises:
        ValueError: It does not compile, in RE2's words, or is too large.
    """
    error, expression = _compiled(pattern)
    if error:
        raise ValueError(error)
    return expression


@functools.lru_cache(maxsize=256)
def _compiled(pattern: str) -> tuple[str, Any]:
    import re2

    options = re2.Options()
    options.log_errors = False
    try:
        expression = re2.compile(pattern, options)
    except (re2.error, UnicodeEncodeError) as error:
        if isinstance(error, UnicodeEncodeError):
            return "it holds half a surrogate pair", None
        reason = error.args[0]
        return reason.decode("utf-8", "replace") if isinstance(reason, bytes) else reason, None
    if expression.programsize > MAX_PROGRAM:
        return "pattern too large: use smaller repetitions", None
    return "", expression


def _first_matches(pattern: str, text: str) -> list[str]:
    """The first texts that a pattern matches, each once; empty where it matches nothing."""
    # Bytes: offsets in characters would be counted anew for every match. Few searches: each may
    # read to the end of the text before it knows what it has.
    data = text.encode("utf-8", "replace")
    matches: dict[str, None] = {}
    for number, match in enumerate(compiled(pattern).finditer(data), 1):
        matches[match.group().decode("utf-8", "replace").strip()] = None
        if number == _SEARCHES or len(matches) == _SHOWN:
            break
    return list(matches)


def _json_error(text: str) -> str | None:
    """Why a text is not JSON as RFC 8259 has it; None where it is."""
    depth = 0
    for bracket in _BRACKETS.finditer(text):
        depth += bool(bracket[1]) - bool(bracket[2])
        if depth > MAX_DEPTH:
            return f"it is nested more than {MAX_DEPTH} levels deep"
    try:
        # Numbers stay text: reading a long one takes the square of its length.
        json.loads(text, parse_int=str, parse_float=str, parse_constant=_no_constant)
    except ValueError:
        # Not the parser's words: they differ between versions of Python.
        start = text.lstrip()[:3]
        if start == "```":
            return "it stands in a code fence"
        if not re.match(r"[\[{\"\-0-9]|tru|fal|nul", start):
            return "it does not begin with a value"
        return "it is broken, or something stands behind it"
    return None


def _no_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is no JSON")


def _several(number: int, one: str, several: str) -> str:
    return f"{number:,} {one if number == 1 else several}"


def _plural(kind: str) -> str:
    return f"{kind}es" if kind.endswith("s") else f"{kind}s"


def _quoted(text: str) -> str:
    short = text if len(text) <= _LONGEST else f"{text[:_LONGEST]}…"
    return f'"{" ".join(short.split())}"'
