"""Whether an answer is in another language than the prompt, which nobody asked for."""

from __future__ import annotations

import re

from cai.constitution.language import NAMES, likeliest_language, other_language

_ASKS_FOR_ONE = re.compile(
    r"translat|übersetz|traduc|traduire|tradur|перев[её]д|翻译|翻譯|翻訳|번역|language|sprache|langue"
    r"|idioma|lingua|语言|語|ترجم|अनुवाद",
    re.IGNORECASE,
)
_NAMED = re.compile(rf"\b(?:{'|'.join(NAMES.values())})\b", re.IGNORECASE)


def wrong_language(answer: str, prompt: str) -> str | None:
    """The language of an answer (ISO 639) where it is clearly not the prompt's; else None.

    Each has to be clearly not in the language of the other, so short texts, names and neighbours
    such as Danish and Norwegian say nothing; nor does a prompt that speaks of a language.
    """
    if _ASKS_FOR_ONE.search(prompt) or _NAMED.search(prompt):
        return None
    asked = likeliest_language(prompt)
    if asked is None:
        return None
    found = other_language(answer, asked)
    return found if found and other_language(prompt, found) is not None else None
