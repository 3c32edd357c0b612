"""Whether an answer is in another language than the prompt, which nobody asked for."""

from __future__ import annotations

import re
from collections.abc import Sequence

from cai.constitution.language import NAMES, likeliest_language, other_language

_TRANSLATES = r"translat|übersetz|traduc|traduire|tradur|перев[её]д|翻译|翻譯|翻訳|번역|ترجم|अनुवाद"
_SPEAKS_OF_ONE = re.compile(
    rf"{_TRANSLATES}|language|sprache|langue|idioma|lingua|语言|語", re.IGNORECASE
)
_NAMED = re.compile(
    rf"{_TRANSLATES}|\b(?:{'|'.join(NAMES.values())})\b"
    r"|\b(?:deutsch|français|español|castellano|italiano|português|nederlands|polski|svenska)"
    r"|по-русски|на русском|中文|汉语|漢語|英文|英语|日本語|한국어",
    re.IGNORECASE,
)

# `Did Angelina Jolie divorce?` is many languages. In capitals stand single nouns of German too.
_NAMES = re.compile(r"\b[A-ZÀ-ÖØ-Þ][\w'’-]+(?: [A-ZÀ-ÖØ-Þ][\w'’-]+)+")


def wrong_language(answer: str, prompt: str, before: Sequence[str] = ()) -> str | None:
    """The language of an answer (ISO 639) where it is clearly not the prompt's; else None.

    Each has to be clearly not in the language of the other, so short texts, names and neighbours
    such as Danish and Norwegian say nothing; nor does a prompt that speaks of a language.

    Args:
        answer: The answer.
        prompt: The last turn.
        before: What else was said to the model: the system prompt, earlier turns.
    """
    if _SPEAKS_OF_ONE.search(prompt) or any(map(_NAMED.search, (prompt, *before))):
        return None
    bare = prompt if prompt.isupper() else _NAMES.sub(" ", prompt)
    asked = likeliest_language(bare)
    if asked is None:
        return None
    found = other_language(answer, asked)
    return found if found and other_language(bare, found) is not None else None
