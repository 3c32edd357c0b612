"""Whether an answer is a text at all: empty, babble, stuck in a loop, or torn by control tokens.

What is cheap to look at comes first; a text is only counted in units where something is odd.
"""

from __future__ import annotations

import functools
import re
from collections.abc import Sequence

from cai.cleaning import loops
from cai.cleaning.leaks import trimmed

_HEAD = 400  # characters in which babble is looked for
_READ = 3000  # characters in which there is a letter
_ECHO = 20  # characters of a prompt that is repeated
_END, _WORDS = 700, 400  # characters at the end, and of it those in which words are counted
_PIECE = 10  # characters of an end that stands there again
_NO_DIGITS = {ord(digit): None for digit in "0123456789"}
_LOOP = 80  # characters of a text that can be stuck
_LONGEST = 60  # letters of a word
_BEFORE = re.compile(r"^(?:question|prompt|instruction|user|human|q)\s?:\s*")
_AFTER = re.compile(r"\s*\b(?:answer|response|assistant|a)\s?:$")
_QUOTES = "\"'“”„«»*` "
_LETTER = re.compile(r"[^\W\d_]")
_MUTE = re.compile(r"[b-df-hj-np-tvxz]{4}", re.IGNORECASE)
_VOWELS = "aeiouyäöüéèêàóíáúãõôìòù"
_FEW_VOWELS = 0.3  # of the letters; English has 0.40, random letters 0.23
_TOKENS = ("<|", "<｜", "[/INST", "[INST", "</s>", "_of_turn>", "<eos>", "assistantfinal")


def is_gibberish(answer: str, prompt: str = "") -> bool:
    """Whether an answer says nothing.

    It is empty, without words, babble, the prompt again, torn by a template's tokens, or stuck.

    Args:
        answer: Any text; linear in its length.
        prompt: What was asked.
    """
    text = answer.strip()
    head = text[:_HEAD]
    if _LETTER.search(head) is None and _LETTER.search(text[:_READ]) is None:
        return not any(map(str.isdigit, text[:_READ]))
    if len(prompt) >= _ECHO and len(text) < 3 * len(prompt) + _ECHO and _is_echo(text, prompt):
        return True
    return _babbles(head) or _is_torn(answer) or (_may_loop(text) and is_stuck(answer))


@functools.lru_cache(maxsize=4)
def is_stuck(answer: str) -> bool:
    """Whether an answer loops; two measures ask it of one text."""
    return loops(answer)


def _is_echo(text: str, prompt: str) -> bool:
    """Whether a text is the prompt, once or more, with at most the names of turns around it."""
    asked, answer = (" ".join(words.casefold().split()) for words in (prompt, text))
    bare = _AFTER.sub("", _BEFORE.sub("", answer)).strip(_QUOTES)
    return asked in bare and not bare.replace(asked, "").strip()


def _is_torn(answer: str) -> bool:
    """Whether tokens of a template stand where no whole answer is before them."""
    return any(token in answer for token in _TOKENS) and trimmed(answer).leak == "torn"


def _babbles(head: str) -> bool:
    """Whether most of a beginning is not words: letters that nobody could speak, signs, holes."""
    if head.count("\ufffd") * 10 > len(head):
        return True
    if len(head) > _LONGEST and head.isascii() and head.isalpha():
        return True
    vowels = sum(map(head.lower().count, "aeiouy" if head.isascii() else _VOWELS))
    if vowels > _FEW_VOWELS * (len(head) - head.count(" ")):
        return False
    pieces = head.split()
    if _few_are_words(pieces):
        return True
    spelt = [piece for piece in pieces if len(piece) > 3 and piece.isascii() and piece.isalpha()]
    mute = sum(_MUTE.search(piece) is not None for piece in spelt)
    return mute >= 4 and 2.5 * mute > len(spelt)


def _few_are_words(pieces: Sequence[str]) -> bool:
    """Whether hardly any piece of a text begins or ends in a letter or a digit."""
    if len(pieces) < 8:
        return False
    first = pieces[:40]
    words = sum(piece[0].isalnum() or piece[-1].isalnum() for piece in first)
    return words < 0.3 * len(first) and not any(map(_has_word, first))


def _has_word(piece: str) -> bool:
    return len(piece) > 3 and piece[1:-1].isalpha()


def _may_loop(text: str) -> bool:
    """Whether a text is worth a look for loops: its end stands there twice, or few runs are new."""
    if len(text) < _LOOP:
        return False
    end = text[-_END:].translate(_NO_DIGITS)  # numbers of a list make no line another one
    if _ends_twice(end):
        return True
    words = end[-_WORDS:].split()
    if len(set(words)) >= 0.55 * len(words):
        return False
    runs = list(zip(words, words[1:], words[2:], strict=False))
    return len(set(runs)) < 0.7 * len(runs)


def _ends_twice(text: str) -> bool:
    """Whether the last piece of a text stands there once more just before."""
    tail = text[-_PIECE:]
    before = text.rfind(tail, 0, len(text) - 1)
    if before < 0:
        return False
    period = len(text) - _PIECE - before
    return text[-period:] == text[-2 * period : -period]
