"""What a text is counted in: words, sentences, paragraphs; and its prose, without the code."""

from __future__ import annotations

import re
from collections.abc import Iterator

# Scripts without spaces between words. Of Chinese and Japanese each sign counts as a word, as word
# processors count them; Korean is spaced.
_SIGN = (
    r"\u3005-\u3007\u3041-\u3096\u309d-\u309f\u30a1-\u30fa\u30fc-\u30ff\u31f0-\u31ff\u3400-\u4dbf"
    r"\u4e00-\u9fff\uf900-\ufaff\uff66-\uff9f\U00020000-\U0003ffff"
)
# Thai, Lao, Burmese and Khmer have about three letters a word, not counting the marks on them.
_LETTER = (
    r"\u0e01-\u0e30\u0e32\u0e33\u0e40-\u0e46\u0e81-\u0eb0\u0eb2\u0eb3\u0ebd-\u0ec6\u1000-\u102a\u103f"
    r"\u1780-\u17b3"
)
_MARK = (
    r"\u0e31\u0e34-\u0e3a\u0e47-\u0e4e\u0eb1\u0eb4-\u0ebc\u0ec8-\u0ece\u102b-\u103e\u17b4-\u17d3"
)
_LETTERS_PER_WORD = 3
_UNSPACED = re.compile(f"[{_SIGN}]|[{_LETTER}{_MARK}]+")
_LETTER_ONLY = re.compile(f"[{_LETTER}]")
# A dash or a stroke between two words parts them; a hyphen, an apostrophe or a dot does not.
_GAP = re.compile(r"[\s—–/…]+")

# Signs that end a sentence in scripts that put a space behind them (Latin, Greek, Cyrillic …) …
_SPACED_ENDS = ".!?…‼⁇⁈⁉"
# … and those that end one wherever they stand: Chinese, Japanese, Arabic, Urdu, Hindi, Burmese,
# Ethiopic, Armenian, Khmer.
_ENDS = "。！？｡．؟۔।॥။።፧։។៕"
_CLOSING = "\"'”’»›)\\]*_」』）】〉》"
# A run of signs is tried from its first one only: from each, a long run would take its square.
_END = re.compile(
    rf"[{_ENDS}][{_ENDS}!?]*[{_CLOSING}]*"
    rf"|(?<![{_SPACED_ENDS}])[{_SPACED_ENDS}]++[{_CLOSING}]*+(?=\s|$)"
)
# Words whose dot never ends a sentence, and words that may stand last in one. Not "no": it is an
# answer more often than a number.
_TITLES = frozenset(
    re.split(
        r"\s+",
        "dr mr mrs ms mx prof rev fr st sr sra srta mme mlle vs cf e.g i.e eg ie approx ca nr fig "
        "vol pp bzw z.b d.h u.a vgl resp p.ex p.ej ej см т.е т.к",
    )
)
_CLOSERS = frozenset(
    ("etc", "usw", "a.m", "p.m", "u.s", "u.k", "jr", "inc", "ltd", "corp", "co", "др", "г")
)
_LAST_WORD = re.compile(r"[^\s\"'“„«(\[]{1,12}\Z")

_FENCE = re.compile(r" {0,3}(`{3,}|~{3,})")
_INLINE_CODE = re.compile(r"`[^`\n]+`")
# What begins a line of a list: a bullet, or a number, a letter or a numeral with a mark behind it.
_MARKER = re.compile(
    r"\s{0,40}(?:>\s?)?(?:"
    r"[-*+–](?=\s)|[•‣◦⁃▪▫■□●○◆◇➤►▶→✓✔✅☑・·](?=\s|\w)"
    r"|(?:\*\*|__)?(?:\(?\d{1,3}[.)](?:\*\*|__)?(?=\s)|[(（]?\d{1,3}[)）、．]"
    r"|\(?[a-zA-Z][)](?=\s)|[a-zA-Z]\.(?=\s)|\(?[ivxIVX]{1,5}[.)](?=\s)"
    r"|[(（]?[一二三四五六七八九十]{1,3}[)）、．]|[①-⑳]|\d\ufe0f?\u20e3)"
    r")\s{0,40}(?=\S)"
)
_RULE = re.compile(r"\s*(?:[-*_]\s*){3,}\Z")


def words(text: str) -> int:
    """The number of words.

    In spaced scripts (Latin, Cyrillic, Arabic, Hindi, Korean …) a word is what stands between
    spaces, dashes or strokes and holds a letter or digit: "don't", "well-known" and "3.5" are one
    each. Each Chinese character and each Japanese kana is a word, as in word processors. Thai, Lao,
    Burmese and Khmer put no space between words: three letters count as one, rounded up per run.
    """
    unspaced = 0
    for run in _UNSPACED.findall(text):
        letters = len(_LETTER_ONLY.findall(run))
        unspaced += -(-letters // _LETTERS_PER_WORD) if letters else _is_sign(run)
    spaced = _GAP.split(_UNSPACED.sub(" ", text))
    return unspaced + sum(any(map(str.isalnum, piece)) for piece in spaced)


def _is_sign(run: str) -> bool:
    return len(run) == 1 and run.isalnum()


def sentences(text: str) -> int:
    """The number of sentences: stretches with a letter or digit, each up to a sign that ends one.

    Ends are those of all scripts in `_ENDS`. A dot within a number or a word ends none, nor does
    one behind a title or an abbreviation ("Dr.", "e.g.", "J. Smith"), nor an ellipsis before a
    small letter. A line break ends a sentence too, unless the next line goes on with a small
    letter; so does the marker of a list, whose number is no sentence.
    """
    return sum(_sentences_of(stretch) for stretch in _stretches(text))


def _stretches(text: str) -> Iterator[str]:
    """Lines, with those that begin with a small letter put behind the line before."""
    stretch: list[str] = []
    for line in text.splitlines():
        item = _MARKER.match(line)
        body = (line[item.end() :] if item else line).strip()
        if not item and body[:1].islower() and stretch:
            stretch.append(body)
            continue
        if stretch:
            yield " ".join(stretch)
        stretch = [body] if body else []
    if stretch:
        yield " ".join(stretch)


def _sentences_of(stretch: str) -> int:
    count, start = 0, 0
    for end in _END.finditer(stretch):
        if _goes_on(stretch, end, start):
            continue
        count += any(map(str.isalnum, stretch[start : end.end()]))
        start = end.end()
    return count + any(map(str.isalnum, stretch[start:]))


def _goes_on(stretch: str, end: re.Match[str], start: int) -> bool:
    """Whether a sign that may end a sentence does not do so here."""
    sign = end[0].rstrip(_CLOSING)
    follows = stretch[end.end() : end.end() + 8].lstrip()[:1]
    if sign != end[0] or sign.startswith("..") or sign == "…":
        return follows.islower()  # "Sure?" she asked; Well... perhaps
    if sign != ".":
        return False
    if end.start() - start < 6 and stretch[start : end.start()].strip().isdigit():
        return True  # the number of an item within a line: "1. Flour. 2. Eggs."
    last = _LAST_WORD.search(stretch, max(start, end.start() - 12), end.start())
    word = last[0].lower() if last else ""
    if word in _CLOSERS:
        return follows.islower()
    return word in _TITLES or (len(word) == 1 and word.isalpha() and bool(follows))


def paragraphs(text: str) -> int:
    """The number of blocks of lines that empty lines part; code in fences is never parted."""
    count, inside = 0, False
    for line, code in _lines(text):
        if line.strip() or code:
            count += not inside
            inside = True
        else:
            inside = False
    return count


def characters(text: str) -> int:
    """The number of characters (code points), without the white space at both ends."""
    return len(text.strip())


def prose_lines(text: str) -> list[str]:
    """The lines of a text without code: fenced blocks are left out, `code` in a line is blanked."""
    lines = [line for line, code in _lines(text) if not code]
    return [_INLINE_CODE.sub(" ", line) for line in lines] if "`" in text else lines


def is_item(line: str) -> bool:
    """Whether a line begins as one of a list: "- x", "1. x", "a) x", "(1) x", "• x", "一、x"."""
    return bool(_MARKER.match(line)) and not _RULE.match(line)


def _lines(text: str) -> Iterator[tuple[str, bool]]:
    """Lines, and whether each belongs to a fenced block of code; the fences do."""
    fence = ""
    if "```" not in text and "~~~" not in text:
        yield from ((line, False) for line in text.splitlines())
        return
    for line in text.splitlines():
        mark = _FENCE.match(line)
        if fence:
            yield line, True
            if mark and mark[1].startswith(fence):
                fence = ""
        else:
            fence = mark[1] if mark else ""
            yield line, bool(mark)
