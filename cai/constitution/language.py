"""In which language a text is written, by py3langid: a small model that ships with the package."""

from __future__ import annotations

import functools
from typing import Any

from cai.constitution.text_units import prose_lines

# Below this a name or a greeting decides; "Hallo Anna" is many languages.
FEWEST_LETTERS = 20
# How much likelier another language has to be, per square root of bytes (the log-probabilities
# grow with the text). Between neighbours such as Bosnian and Croatian it is mostly less.
LEAD = 1.0
# Of a long text both ends are read.
_END = 8_000

NAMES = {
    "ar": "Arabic",
    "bg": "Bulgarian",
    "bn": "Bengali",
    "ca": "Catalan",
    "cs": "Czech",
    "da": "Danish",
    "de": "German",
    "el": "Greek",
    "en": "English",
    "es": "Spanish",
    "et": "Estonian",
    "fa": "Persian",
    "fi": "Finnish",
    "fr": "French",
    "he": "Hebrew",
    "hi": "Hindi",
    "hr": "Croatian",
    "hu": "Hungarian",
    "id": "Indonesian",
    "it": "Italian",
    "ja": "Japanese",
    "ko": "Korean",
    "lt": "Lithuanian",
    "lv": "Latvian",
    "ms": "Malay",
    "nl": "Dutch",
    "no": "Norwegian",
    "pl": "Polish",
    "pt": "Portuguese",
    "ro": "Romanian",
    "ru": "Russian",
    "sk": "Slovak",
    "sl": "Slovenian",
    "sr": "Serbian",
    "sv": "Swedish",
    "sw": "Swahili",
    "ta": "Tamil",
    "th": "Thai",
    "tl": "Tagalog",
    "tr": "Turkish",
    "uk": "Ukrainian",
    "ur": "Urdu",
    "vi": "Vietnamese",
    "zh": "Chinese",
}


def other_language(text: str, code: str) -> str | None:
    """The language that a text is in instead of the one named; None where it may be that one.

    Code and addresses are left out. Where 20 letters are not there nothing is said; the letters of
    other scripts than Latin tell more, and are counted by their bytes in UTF-8. Another language is
    named only where it is clearly likelier: scores are compared as whole numbers, so the last bits
    of a machine play no part.
    """
    prose = _prose(text)
    if prose is None:
        return None
    scores = dict(_identifier().rank(prose))
    best = max(scores, key=lambda name: (scores[name], name))
    size = len(prose.encode("utf-8", "replace")) ** 0.5
    return best if round(scores[best] - scores[code]) > round(LEAD * size) else None


def likeliest_language(text: str) -> str | None:
    """The code of the language that a text is most likely in; None where 20 letters are not there.

    Code and addresses are left out. Neighbours such as Danish and Norwegian are often mixed up.
    """
    prose = _prose(text)
    return None if prose is None else str(_identifier().rank(prose)[0][0])


def _prose(text: str) -> str | None:
    """What of a text its language can be told by, or None where it is too little."""
    pieces = (piece for line in prose_lines(text) for piece in line.split())
    prose = " ".join(piece for piece in pieces if not _is_address(piece))
    if len(prose) > 2 * _END:
        prose = f"{prose[:_END]} {prose[-_END:]}"
    letters = "".join(filter(str.isalpha, prose))
    return prose if len(letters.encode("utf-8", "replace")) >= FEWEST_LETTERS else None


def _is_address(piece: str) -> bool:
    return "://" in piece or "@" in piece or "www." in piece


def languages() -> tuple[str, ...]:
    """The codes of the languages that are known (ISO 639)."""
    return tuple(sorted(set(_identifier().labels) - {"zxx"}))


@functools.cache
def _identifier() -> Any:
    """The model, read once; our own copy, since the package's has settings that others change."""
    from py3langid import langid

    return langid.LanguageIdentifier.from_model_file(langid.MODEL_FILE)
