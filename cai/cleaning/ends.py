"""What stands before and after an answer and is none of it: announcements, apologies, notes.

Only whole pieces at the ends are cut: a line, a sentence, a bracket, a list under its heading.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import NamedTuple

from cai.cleaning.phrases import anywhere, starts, word

_WINDOW = 1200  # characters at each end in which pieces are looked for
_LONGEST = 500  # characters of a piece that is a sentence
_SENTENCES = 60  # of each end, in which an apology or a note is a defect
_STOP = (
    r"[.!?…؟]+[)\"”»'’*_\]]*(?=\s|\Z)|[。！？।॥]+[」』”）】*_\"]*"  # the end of a sentence
    r"|\n|\Z"
)
_SENTENCE_END = re.compile(_STOP)
_STOP_OR_COLON = re.compile(rf":[*_]*(?=\s|\Z)|：[*_]*|{_STOP}")
_AFTER_LABEL = re.compile(
    r"[*_ ]*(?:\([^)\n]{0,40}\))?[*_ ]*(?:[:：][*_]*\s*|[*_]{2,}[ \t]*\n|(?<=[*_]{2})[ \t]*\n)"
)
_AFTER_HEADING = re.compile(r"[^\n:：.。]{0,40}(?:[:：][*_ ]*|[*_ ]*(?:\n|\Z))")
_AFTER_NOTE = re.compile(r"[^\n:：.。]{0,30}?[*_ ]*[:：\-–—、,，].?")
_BRACKETS = {")": "(", "]": "[", "）": "（", "】": "【"}
_CLOSED = re.compile(r"([)\]）】])[.。*_ ]*\Z")
_RULE = re.compile(
    r"\n[ \t]*(?:-{3,}|\*{3,}|_{3,}|#{1,6})[ \t]*\Z|\A(?:-{3,}|\*{3,}|_{3,})[ \t]*\n"
)
_SENTENCE_START = re.compile(
    r"(?:\A|(?<=[.!?…؟*_)]\s)|(?<=[。！？।॥\n）]))(?=[ \t]{0,4}[^\s\"“«„「'‘])"
)


class Cut(NamedTuple):
    """A text without a piece at one of its ends, and what the piece was."""

    text: str
    name: str


def cut_ends(text: str, apologies: bool, notes: bool) -> tuple[str, list[str]]:
    """Cut all pieces at both ends. What would leave nothing of the text is not cut off it.

    Args:
        text: The text, without white space around it.
        apologies: Whether apologies to a critic are cut.
        notes: Whether notes on what was changed are cut.
    """
    whole, removed = text, list[str]()
    while len(removed) < 24:
        before = removed[-1] if removed else ""
        cut = _head(text, before, apologies, notes) or _tail(text, apologies, notes)
        if cut is None:
            break
        if not cut.text and cut.name != "preamble":
            return whole, []  # all of it is apology and note: that is a defect
        text = _RULE.sub("", cut.text).strip()
        removed.append(cut.name)
    return text, list(dict.fromkeys(removed))


def left_over(text: str, apologies: bool, notes: bool) -> str | None:
    """`apology` or `note` where a sentence of a text is one, whether or not it could be cut."""
    places = list(_sentences(text))
    if len(places) > 2 * _SENTENCES:
        places = places[:_SENTENCES] + places[-_SENTENCES:]
    for at in places:
        if _in_code(text, at) or _in_quotes(text, at):
            continue
        if apologies and starts("apology").match(text, at):
            return "apology"
        if notes and (starts("note").match(text, at) or _is_heading(text, at)):
            return "note"
    if notes and (_is_labelled(text[:_WINDOW]) or _bracket_start(text) is not None):
        return "note"
    return None


def _head(text: str, before: str, apologies: bool, notes: bool) -> Cut | None:
    head = text[:_WINDOW]
    end = _preamble_end(head)
    if end is not None:
        return Cut(text[end:].strip(), "preamble")
    if apologies:
        end = _apology_end(head, before == "apology")
        if end is not None:
            return Cut(text[end:].strip(), "apology")
    if notes:
        end = _note_end(head, before == "note")
        if end is not None:
            return Cut(text[end:].strip(), "note")
    return None


def _preamble_end(head: str) -> int | None:
    if _is_heading(head, 0):
        return None
    label = starts("label").match(head)
    if label and (after := _AFTER_LABEL.match(head, label.end())):
        return after.end()
    if label and head.lstrip().startswith("#") and head[label.end() : label.end() + 1] == "\n":
        return label.end()
    found = starts("preamble").match(head)
    if found is None:
        return None
    stop = _stop(head, found.end(), colon=True)
    if stop is None or head[found.start() : stop].count("\n"):
        return None
    # What announces ends with a colon, or is all of its line; without one it may be a note.
    if head[:stop].rstrip("*_")[-1:] in ":：":
        return stop
    return stop if head[stop : stop + 1] == "\n" and not starts("note").match(head) else None


def _apology_end(head: str, goes_on: bool) -> int | None:
    found = starts("apology").match(head) or starts("thanks").match(head)
    if found is None and goes_on:
        found = starts("apology_tail").match(head)
    if found is None:
        return None
    stop = _stop(head, found.end(), colon=True)
    # "I am sorry for my last answer, but …": what follows is the answer.
    if stop is None or word("but").search(head, found.start(), stop):
        return None
    return stop


def _note_end(head: str, goes_on: bool) -> int | None:
    bracket = _opening_bracket(head)
    if bracket is not None:
        return bracket
    if _is_heading(head, 0):
        return _block_end(head)
    line = head.partition("\n")[0]
    if _is_labelled(line):
        return len(line)
    found = starts("note").match(head)
    if found is None and goes_on:
        found = starts("change").match(head)
    return None if found is None else _stop(head, found.end(), colon=True)


def _stop(text: str, at: int, *, colon: bool) -> int | None:
    """Where the sentence ends that goes on at a place; None if it is too long for a piece."""
    found = (_STOP_OR_COLON if colon else _SENTENCE_END).search(text, at)
    if found is None or found.end() > _LONGEST:
        return None
    return found.start() if found[0] == "\n" else found.end()


def _opening_bracket(head: str) -> int | None:
    """The end of a bracket at the start that is a note."""
    start = len(head) - len(head.lstrip("*_ "))
    close = {opening: closing for closing, opening in _BRACKETS.items()}.get(
        head[start : start + 1]
    )
    end = head.find(close, start) if close else -1
    if end < 0 or not _is_note(head[start + 1 : end]):
        return None
    end += 1
    return end + len(head[end:]) - len(head[end:].lstrip("*_. "))


def _block_end(head: str) -> int:
    """The end of a heading and of the paragraph or list under it."""
    first = head.find("\n")
    if first < 0:
        return len(head)
    body = len(head) - len(head[first:].lstrip())
    end = head.find("\n\n", body)
    return len(head) if end < 0 else end


def _is_heading(text: str, at: int) -> bool:
    """Whether a line at a place is the heading of a list of changes."""
    found = starts("heading").match(text, at)
    return found is not None and _AFTER_HEADING.match(text, found.end()) is not None


def _is_labelled(text: str) -> bool:
    """Whether a text is a note ("Note: …") in which something is said to have been changed."""
    label = starts("note_label").match(text)
    after = label and _AFTER_NOTE.match(text, label.end())
    return bool(after and anywhere("change").search(text, after.end() - 1))


def _is_note(text: str) -> bool:
    """Whether a piece of its own, such as a bracket, is a note on what was changed."""
    if len(text) > _WINDOW:
        return False
    found = starts("note").match(text) or starts("change").match(text)
    return found is not None or _is_heading(text, 0) or _is_labelled(text)


def _tail(text: str, apologies: bool, notes: bool) -> Cut | None:
    at = _note_start(text) if notes else None
    if at is not None:
        return Cut(text[:at].strip(), "note")
    if apologies:
        last = _last_sentences(text)[-1]
        found = starts("apology").match(text, last)
        if found and not _in_quotes(text, last) and not word("but").search(text, last):
            return Cut(text[:last].strip(), "apology")
    return None


def _note_start(text: str) -> int | None:
    bracket = _bracket_start(text)
    if bracket is not None:
        return bracket
    heading = _heading_start(text)
    if heading is not None:
        return heading
    window = max(0, len(text) - _WINDOW)
    paragraph = max(text.rfind("\n\n", window), window - 1) + 1
    line = max(text.rfind("\n", window), window - 1) + 1
    for at in (paragraph, line):
        piece = text[at:].strip()
        if at > 0 and (_is_labelled(piece) or starts("note").match(piece)):
            return at
    return _note_sentences(text)


def _bracket_start(text: str) -> int | None:
    """Where a bracket begins that ends the text and is a note."""
    closed = _CLOSED.search(text, max(0, len(text) - 12))
    if closed is None:
        return None
    depth = 0
    for at in range(closed.start(), max(-1, closed.start() - _WINDOW), -1):
        depth += (text[at] == closed[1]) - (text[at] == _BRACKETS[closed[1]])
        if depth == 0:
            start = len(text[:at].rstrip("*_ \t"))
            return start if _is_note(text[at + 1 : closed.start()]) else None
    return None


def _heading_start(text: str) -> int | None:
    """Where a list of changes begins that goes on to the end of the text."""
    at = len(text)
    for _ in range(40):
        at = text.rfind("\n", max(0, len(text) - 3 * _WINDOW), at)
        if at < 0:
            return None
        if _is_heading(text, at + 1) and not _in_code(text, at) and "```" not in text:
            return at
    return None


def _note_sentences(text: str) -> int | None:
    """Where the first of the last sentences begins that are all notes."""
    sentences = _last_sentences(text)
    found = None
    for at, end in zip(reversed(sentences), [len(text), *reversed(sentences)], strict=False):
        sentence = text[at:end].strip()
        if starts("note").match(sentence) or _is_labelled(sentence):
            found = at
        elif not starts("change").match(sentence):
            break
    return found


def _last_sentences(text: str) -> list[int]:
    """Where the last sentences of the last line begin, at most five."""
    window = max(text.rfind("\n") + 1, len(text) - _WINDOW)
    places = [window + at for at in _sentences(text[window:])]
    return places[-5:] or [window]


def _sentences(text: str) -> Iterator[int]:
    """Where sentences begin, but those in quotes."""
    return (found.start() for found in _SENTENCE_START.finditer(text))


def _in_quotes(text: str, at: int) -> bool:
    """Whether a place is in a quotation that began in the same line."""
    line = text[max(text.rfind("\n", 0, at) + 1, at - _WINDOW) : at]
    pairs = (("«", "»"), ("“", "”"), ("„", "“"), ("「", "」"), ("『", "』"))
    inside = any(line.rfind(opening) > line.rfind(closing) for opening, closing in pairs)
    return inside or line.count('"') % 2 == 1


def _in_code(text: str, at: int) -> bool:
    return text.count("```", 0, at) % 2 == 1
