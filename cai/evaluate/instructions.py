"""IFEval's instructions that a program can check: all 25 types, strict and loose.

Zhou et al. 2023, "Instruction-following evaluation for large language models" (arXiv 2311.07911).
The types are those of its table 1, and what each asks for is counted as its authors count it, so
that figures can be held against published ones: a paragraph is what `***` parts, a word is a run of
letters and digits. Sentences and languages are told by the code of the constitution's rules.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from cai.constitution import text_units
from cai.constitution.language import likeliest_language
from cai.errors import CaiError
from cai.evaluate.instruction_arguments import problem
from cai.records import Record

Arguments = Mapping[str, Any]
Check = Callable[[str, Arguments], bool]

_WORD = re.compile(r"\w+")
_TOKEN = re.compile(r"\w+(?:['’.-]\w+)*")
_FENCE = re.compile(r"\A```(?:json)?|```\Z", re.IGNORECASE)
_ANSWERS = ("My answer is yes.", "My answer is no.", "My answer is maybe.")
_POSTSCRIPTS = {"P.P.S": r"p\.\s?p\.\s?s", "P.S.": r"p\.\s?s\."}


class Instruction(Record):
    """One thing that a response must be: its type (`keywords:existence`) and its arguments."""

    type: str
    arguments: dict[str, Any]


def instructions_of(types: Sequence[str], given: Sequence[Arguments | None]) -> list[Instruction]:
    """The instructions of a prompt, as `instruction_id_list` and `kwargs` of IFEval have them.

    Raises:
        CaiError: A type is unknown, an argument is missing or of another kind, or the lists are of
            different lengths.
    """
    if len(types) != len(given):
        raise CaiError(f"{len(types)} instructions and {len(given)} sets of arguments")
    unknown = [name for name in types if name not in CHECKS]
    if unknown:
        raise CaiError(f"unknown instruction {unknown[0]!r}", f"Known: {', '.join(CHECKS)}.")
    instructions = [
        Instruction(type=name, arguments={k: v for k, v in (own or {}).items() if v is not None})
        for name, own in zip(types, given, strict=True)
    ]
    for one in instructions:
        _check(one)
    return instructions


def _check(instruction: Instruction) -> None:
    """Raise `CaiError` for arguments with which nothing can be told."""
    where, given = f"instruction {instruction.type}", instruction.arguments
    if wrong := problem(instruction.type, given):
        raise CaiError(f"{where}: {wrong}", "Fix the suite.")
    try:
        followed(instruction, "One.\n\nTwo.")
    except (TypeError, ValueError, AttributeError, re.error) as error:
        raise CaiError(f"{where}: {error}", f"Its arguments: {given}.") from None


def followed(instruction: Instruction, response: str) -> bool:
    """Whether a response does what it is told, strictly; an empty one does nothing.

    Raises:
        CaiError: The instruction lacks an argument that its type needs.
    """
    if not response.strip():
        return False
    try:
        return CHECKS[instruction.type](response, instruction.arguments)
    except KeyError as error:
        raise CaiError(
            f"instruction {instruction.type}: no argument {error}", "Fix the suite."
        ) from None


def followed_loosely(instruction: Instruction, response: str) -> bool:
    """Whether it does so without its first or last line, or without asterisks, in any mixture."""
    return any(followed(instruction, text) for text in _variants(response))


def _variants(response: str) -> list[str]:
    lines = response.split("\n")
    cut = [
        response,
        "\n".join(lines[1:]).strip(),
        "\n".join(lines[:-1]).strip(),
        "\n".join(lines[1:-1]).strip(),
    ]
    return [*cut, *(text.replace("*", "") for text in cut)]


def _related(count: int, relation: str, number: int) -> bool:
    if relation not in ("less than", "at least"):
        message = f"an instruction has the relation {relation!r}"
        raise CaiError(message, "Known: less than, at least.")
    return count < number if relation == "less than" else count >= number


def _existence(text: str, given: Arguments) -> bool:
    return all(re.search(word, text, re.IGNORECASE) for word in given["keywords"])


def _frequency(text: str, given: Arguments) -> bool:
    count = len(re.findall(given["keyword"], text, re.IGNORECASE))
    return _related(count, given["relation"], given["frequency"])


def _forbidden(text: str, given: Arguments) -> bool:
    words = given["forbidden_words"]
    return not any(re.search(rf"\b{word}\b", text, re.IGNORECASE) for word in words)


def _letters(text: str, given: Arguments) -> bool:
    count = text.lower().count(given["letter"].lower())
    return _related(count, given["let_relation"], given["let_frequency"])


def _language(text: str, given: Arguments) -> bool:
    return likeliest_language(text) in (None, given["language"].split("-")[0])


def _sentences(text: str, given: Arguments) -> bool:
    run_on = " ".join(text.split())  # there a line break ends no sentence
    return _related(text_units.sentences(run_on), given["relation"], given["num_sentences"])


def _paragraphs(text: str, given: Arguments) -> bool:
    parts = [part.strip() for part in re.split(r"\s?\*\*\*\s?", text)]
    inner = parts[1:-1]
    if not all(inner):
        return False
    return bool(sum(map(bool, parts)) == given["num_paragraphs"])


def _words(text: str, given: Arguments) -> bool:
    return _related(len(_WORD.findall(text)), given["relation"], given["num_words"])


def _first_word(text: str, given: Arguments) -> bool:
    parts = [part.strip() for part in re.split(r"\n\n", text)]
    nth = given["nth_paragraph"]
    if len([part for part in parts if part]) != given["num_paragraphs"] or nth > len(parts):
        return False
    first = parts[nth - 1].split()[:1]
    word = re.split(r"[.,?!'\"]", first[0].lstrip("'\""))[0] if first else ""
    return bool(word.lower() == given["first_word"].lower())


def _placeholders(text: str, given: Arguments) -> bool:
    return bool(len(re.findall(r"\[.*?\]", text)) >= given["num_placeholders"])


def _postscript(text: str, given: Arguments) -> bool:
    marker = given["postscript_marker"]
    pattern = _POSTSCRIPTS.get(marker, re.escape(marker.lower()))
    return re.search(rf"\s*{pattern}.*$", text.lower(), re.MULTILINE) is not None


def _bullets(text: str, given: Arguments) -> bool:
    stars = re.findall(r"^\s*\*[^\*].*$", text, re.MULTILINE)
    dashes = re.findall(r"^\s*-.*$", text, re.MULTILINE)
    return bool(len(stars) + len(dashes) == given["num_bullets"])


def _constrained(text: str, given: Arguments) -> bool:
    return any(answer in text.strip() for answer in _ANSWERS)


def _highlights(text: str, given: Arguments) -> bool:
    single = [part for part in re.findall(r"\*[^\n\*]*\*", text) if part.strip("*").strip()]
    double = [part for part in re.findall(r"\*\*[^\n\*]*\*\*", text) if part.strip("*").strip()]
    return bool(len(single) + len(double) >= given["num_highlights"])


def _sections(text: str, given: Arguments) -> bool:
    splitter = rf"\s?{re.escape(given['section_spliter'])}\s?\d+\s?"
    return bool(len(re.split(splitter, text)) - 1 >= given["num_sections"])


def _json(text: str, given: Arguments) -> bool:
    bare = _FENCE.sub("", text.strip()).strip()
    try:
        json.loads(bare)
    except (ValueError, RecursionError):
        return False
    return True


def _title(text: str, given: Arguments) -> bool:
    return any(part.strip("<>").strip() for part in re.findall(r"<<[^\n]+>>", text))


def _two_responses(text: str, given: Arguments) -> bool:
    parts = [part.strip() for part in text.split("******")]
    if not all(parts[1:-1]):
        return False
    own = [part for part in parts if part]
    return len(own) == 2 and own[0] != own[1]


def _repeats(text: str, given: Arguments) -> bool:
    return text.strip().lower().startswith(given["prompt_to_repeat"].strip().lower())


def _ends(text: str, given: Arguments) -> bool:
    return text.strip().strip('"').lower().endswith(given["end_phrase"].strip().lower())


def _quoted(text: str, given: Arguments) -> bool:
    whole = text.strip()
    return len(whole) > 1 and whole[0] == '"' == whole[-1]


def _capital_words(text: str, given: Arguments) -> bool:
    count = sum(token.isupper() for token in _TOKEN.findall(text))
    return _related(count, given["capital_relation"], given["capital_frequency"])


def _is_english(text: str) -> bool:
    return likeliest_language(text.lower()) in (None, "en")


def _capitals(text: str, given: Arguments) -> bool:
    return text.isupper() and _is_english(text)


def _lower_case(text: str, given: Arguments) -> bool:
    return text.islower() and _is_english(text)


def _no_comma(text: str, given: Arguments) -> bool:
    return "," not in text


CHECKS: dict[str, Check] = {
    "keywords:existence": _existence,
    "keywords:frequency": _frequency,
    "keywords:forbidden_words": _forbidden,
    "keywords:letter_frequency": _letters,
    "language:response_language": _language,
    "length_constraints:number_sentences": _sentences,
    "length_constraints:number_paragraphs": _paragraphs,
    "length_constraints:number_words": _words,
    "length_constraints:nth_paragraph_first_word": _first_word,
    "detectable_content:number_placeholders": _placeholders,
    "detectable_content:postscript": _postscript,
    "detectable_format:number_bullet_lists": _bullets,
    "detectable_format:constrained_response": _constrained,
    "detectable_format:number_highlighted_sections": _highlights,
    "detectable_format:multiple_sections": _sections,
    "detectable_format:json_format": _json,
    "detectable_format:title": _title,
    "combination:two_responses": _two_responses,
    "combination:repeat_prompt": _repeats,
    "startend:end_checker": _ends,
    "startend:quotation": _quoted,
    "change_case:capital_word_frequency": _capital_words,
    "change_case:english_capital": _capitals,
    "change_case:english_lowercase": _lower_case,
    "punctuation:no_comma": _no_comma,
}
