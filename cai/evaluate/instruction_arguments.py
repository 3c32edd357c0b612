"""Which arguments each of IFEval's instructions needs, and of which kind."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any


def problem(type_: str, given: Mapping[str, Any]) -> str | None:
    """What is wrong with the arguments of an instruction; None where nothing is."""
    for name in _ARGUMENTS.get(type_, ()):
        if name not in given:
            return f"no argument {name!r}"
        if not _KINDS.get(name, _is_count)(given[name]):
            return f"{name} is {given[name]!r}"
    return None


def _is_count(value: object) -> bool:
    return not isinstance(value, bool) and isinstance(value, (int, float)) and value == int(value)


def _is_text(value: object) -> bool:
    return isinstance(value, str) and bool(value)


def _are_texts(value: object) -> bool:
    return isinstance(value, (list, tuple)) and bool(value) and all(map(_is_text, value))


# What each type needs; of other kinds than counts are:
_KINDS: dict[str, Callable[[object], bool]] = {
    **dict.fromkeys(("keywords", "forbidden_words"), _are_texts),
    **dict.fromkeys(("relation", "let_relation", "capital_relation", "keyword"), _is_text),
    **dict.fromkeys(("letter", "language", "first_word", "postscript_marker"), _is_text),
    **dict.fromkeys(("section_spliter", "prompt_to_repeat", "end_phrase"), _is_text),
    "nth_paragraph": lambda value: _is_count(value) and value != 0,
}
_ARGUMENTS: dict[str, tuple[str, ...]] = {
    "keywords:existence": ("keywords",),
    "keywords:frequency": ("keyword", "relation", "frequency"),
    "keywords:forbidden_words": ("forbidden_words",),
    "keywords:letter_frequency": ("letter", "let_relation", "let_frequency"),
    "language:response_language": ("language",),
    "length_constraints:number_sentences": ("relation", "num_sentences"),
    "length_constraints:number_paragraphs": ("num_paragraphs",),
    "length_constraints:number_words": ("relation", "num_words"),
    "length_constraints:nth_paragraph_first_word": (
        *("num_paragraphs", "nth_paragraph", "first_word"),
    ),
    "detectable_content:number_placeholders": ("num_placeholders",),
    "detectable_content:postscript": ("postscript_marker",),
    "detectable_format:number_bullet_lists": ("num_bullets",),
    "detectable_format:number_highlighted_sections": ("num_highlights",),
    "detectable_format:multiple_sections": ("section_spliter", "num_sections"),
    "combination:repeat_prompt": ("prompt_to_repeat",),
    "startend:end_checker": ("end_phrase",),
    "change_case:capital_word_frequency": ("capital_relation", "capital_frequency"),
}
