"""Lint of rules: those that no text can keep, that ask for nothing, or that their examples deny.

What a program checks can be checked by one: these findings are exact, in any language.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator

from cai.constitution.records import Case, Check, Constitution, Principle
from cai.constitution.rules import UNITS, compiled, finding

# Texts so different that a pattern which all of them match is matched by every text.
_SAMPLES = ("", "a", "7", "。", "-", "One. Two!\n\n1. Drei? 四")


def impossible(constitution: Constitution) -> Iterator[tuple[str, str]]:
    """Rules for the same prompts that no text can keep together: the later one's id, and why."""
    ruled = [p for p in constitution.principles if p.check is not None]
    pairs = itertools.combinations_with_replacement(ruled, 2)
    for a, b in pairs:
        if a.check is None or b.check is None or not _meet(a, b):
            continue
        reasons = [*_contradictions(a.check, b.check)]
        if a.id != b.id:
            reasons += _contradictions(b.check, a.check)
        if a.id == b.id:
            always = [pattern for pattern in a.check.forbid if _matches_all(pattern)]
            reasons += [f"the pattern {pattern} matches every text" for pattern in always]
        for reason in dict.fromkeys(reasons):
            together = "" if a.id == b.id else f", together with {a.id}"
            yield b.id, f"check: no answer can keep it{together}: {reason}"


def _meet(a: Principle, b: Principle) -> bool:
    """Whether two principles are for the same prompts, as far as their limits tell."""
    return not a.applies_to or not b.applies_to or bool(set(a.applies_to) & set(b.applies_to))


def _contradictions(a: Check, b: Check) -> Iterator[str]:
    """Why no text keeps both, seen from what the first asks for and the second forbids."""
    for unit in UNITS:
        least, most = getattr(a, f"min_{unit}"), getattr(b, f"max_{unit}")
        if least is not None and most is not None and least > most:
            yield f"at least {least} {unit}, and at most {most}"
    # A word has a character, and a sentence a word.
    for larger, smaller in (("sentences", "words"), ("words", "characters")):
        least, most = getattr(a, f"min_{larger}"), getattr(b, f"max_{smaller}")
        if least is not None and most is not None and least > most:
            yield f"at least {least} {larger}, and at most {most} {smaller}"
    for pattern in a.require:
        if pattern in b.forbid:
            yield f"the pattern {pattern} is required and forbidden"
    yield from _fixed(a, b)
    if a.language is not None and b.language is not None and a.language < b.language:
        yield f"the languages {a.language} and {b.language}"
    if a.ends_with_question is True and b.ends_with_question is False:
        yield "it must end with a question, and must not"


def _fixed(a: Check, b: Check) -> Iterator[str]:
    """Texts that one check puts at an end, and the other does not allow there."""
    for where, name in (("begin", "starts_with"), ("end", "ends_with")):
        one, other = getattr(a, name), getattr(b, name)
        if one is None or other is None or one.strip() >= other.strip():
            continue  # the same, or told when the two are taken the other way round
        shorter, longer = sorted((one.strip(), other.strip()), key=len)
        fits = longer.startswith(shorter) if where == "begin" else longer.endswith(shorter)
        if not fits:
            yield f"it must {where} with both {one} and {other}"
    forbidding = Check(
        exclamation_marks=b.exclamation_marks,
        emoji=b.emoji,
        links=b.links,
        personal_data=b.personal_data,
        max_words=b.max_words,
        max_characters=b.max_characters,
    )
    for where, text in (("begin", a.starts_with), ("end", a.ends_with)):
        if text is not None and (broken := finding(forbidding, text)):
            yield f"it must {where} with {text}; of that alone is said: {broken}"
    if a.ends_with is not None and b.ends_with_question is not None:
        asks = Check(ends_with_question=b.ends_with_question)
        if broken := finding(asks, a.ends_with):
            yield f"it must end with {a.ends_with}; of that is said: {broken}"


def idle(constitution: Constitution) -> Iterator[tuple[str, str]]:
    """Required patterns that every text matches, so that they ask for nothing."""
    for principle in constitution.principles:
        for pattern in principle.check.require if principle.check else ():
            if _matches_all(pattern):
                yield principle.id, f"require: {pattern} matches every text, so it asks nothing"


def _matches_all(pattern: str) -> bool:
    return all(compiled(pattern).search(text) for text in _SAMPLES)


def denied(constitution: Constitution) -> Iterator[tuple[str, str]]:
    """Examples of rules whose verdict, or whose revision, the check itself denies."""
    for principle in constitution.principles:
        if principle.check is None:
            continue
        for number, case in enumerate(principle.examples, 1):
            for said in _denials(principle.check, case):
                yield principle.id, f"example {number} {said}"


def _denials(check: Check, case: Case) -> Iterator[str]:
    broken = finding(check, case.response)
    if case.verdict == "fine" and broken:
        yield f"is fine, but breaks the check: {broken}"
    if case.verdict == "violates" and not broken:
        yield "violates, but the check finds nothing in it"
    if case.revision is not None and (left := finding(check, case.revision)):
        yield f"has a revision that breaks the check: {left}"
