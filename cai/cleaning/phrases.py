"""What models write around an answer, in ten languages: the tables in `languages/`.

A table has word lists, of which `{name}` in a phrase stands for one, and these entries. A phrase is
a regular expression for the beginning of a sentence; `…` is a gap of up to 60 characters.

    opener          "Sure", "Of course": may stand before any of the others
    preamble        announces the text that follows: "Here is the revised answer"
    label           stands before a colon: "Revised answer"
    apology         speaks to the critic: "I apologize for my previous response"
    thanks          the same at the beginning of a text: "Thank you for the feedback"
    apology_tail    sentences that go on after one: "It was insensitive"
    but             after this word an apology becomes a part of the answer
    note            tells what was changed: "I have revised the answer"
    note_label      "Note", "Explanation": a note if a `change` stands in it
    change          "I removed", "the revised answer"
    heading         of a list of changes: "Changes made"
    user, assistant who speaks in an invented turn, with capitals as they are written
    asks, negations words that make an answer of what looks like a copy of the question
    letter          how a letter begins, in which an apology is the answer
    asked_apology   in a prompt: an apology or a letter is wanted
    asked_quotes    in a prompt: the answer is wanted in quotation marks
    asked_note      in a prompt: to correct or rewrite something is what is wanted
"""

from __future__ import annotations

import functools
import re
from pathlib import Path

import yaml

from cai.cleaning.units import units

LANGUAGES = ("en", "zh", "es", "hi", "ar", "pt", "fr", "ru", "de", "ja")
_GAP = r"[^\n]{0,60}?"
_DECORATION = r"[\s*_#>¡•\-–—(\[【（]{0,12}"


@functools.cache
def _tables() -> dict[str, dict[str, list[str]]]:
    """Entries by language, with word lists put in."""
    folder = Path(__file__).parent / "languages"
    return {
        name: _filled(yaml.safe_load((folder / f"{name}.yaml").read_text(encoding="utf-8")))
        for name in LANGUAGES
    }


def _filled(table: dict[str, str | list[str] | dict[str, str]]) -> dict[str, list[str]]:
    words = table.pop("words")
    assert isinstance(words, dict)
    filled = {}
    for entry, phrases in table.items():
        listed = [phrases] if isinstance(phrases, str) else list(phrases)
        for name, choices in words.items():
            listed = [phrase.replace(f"{{{name}}}", f"(?:{choices})") for phrase in listed]
        filled[entry] = [_expression(phrase) for phrase in listed]
    return filled


def _expression(phrase: str) -> str:
    return phrase.replace("…", _GAP).replace("’", "['’]")


def choices(entry: str) -> str:
    """One expression for what an entry has in any language."""
    phrases = [phrase for table in _tables().values() for phrase in table[entry]]
    return "(?:" + "|".join(dict.fromkeys(phrases)) + ")"


@functools.cache
def starts(entry: str) -> re.Pattern[str]:
    """An entry at the beginning of a sentence, after decoration and an opener."""
    opener = rf"(?:{choices('opener')}(?!\w)[^\n.!?:。！：]{{0,30}}[,.!:，。！、：–—-]+\s*)?"
    found = rf"{_DECORATION}{opener}{_DECORATION}{choices(entry)}"
    return re.compile(found, re.IGNORECASE)


@functools.cache
def anywhere(entry: str) -> re.Pattern[str]:
    """An entry in any place of a text."""
    return re.compile(choices(entry), re.IGNORECASE)


@functools.cache
def word(entry: str) -> re.Pattern[str]:
    """An entry as words of its own; in scripts without spaces, as a part of the text."""
    here = choices(entry)
    spaced = rf"(?<!\w){here}(?![^\W\u3041-\u9fff])"
    return re.compile(rf"(?:{spaced}|(?<=[\u3041-\u9fff]){here})", re.IGNORECASE)


@functools.cache
def asking_words() -> frozenset[str]:
    return _listed("asks")


@functools.cache
def negations() -> frozenset[str]:
    return _listed("negations")


def _listed(entry: str) -> frozenset[str]:
    """The words of an entry, as units of a text are written."""
    words = [
        w for table in _tables().values() for phrase in table[entry] for w in phrase.split("|")
    ]
    return frozenset("".join(units(w)) for w in words)
