"""What a text holds besides words: lists, headings, links, emoji, exclamation marks."""

from __future__ import annotations

import re

from cai.constitution.text_units import is_item, prose_lines

# One line alone that begins with a dash or a number is mostly dialogue, a year or a signature.
FEWEST_ITEMS = 2

_HEADING = re.compile(r"\s{0,3}#{1,6}\s+\S|\s*<h[1-6][\s>]", re.IGNORECASE)
_BOLD_LINE = re.compile(r"\s*(\*\*|__)(?=\S)(?!.{120})[^*_]*[^*_\s.!?。！？]\1:?\s*\Z")
_UNDERLINE = re.compile(r"\s{0,3}(?:={3,}|-{3,})\s*\Z")
_LINK = re.compile(r"(?:https?|ftp)://\S|\bwww\.\w|\]\(\s*[^\s)]|<a\s", re.IGNORECASE)

# Characters that Unicode 17 draws as emoji by default (Emoji_Presentation), and those of the
# pictographic blocks that are drawn so in practice. Hearts and smileys of the older blocks count
# too; a digit, © or an arrow only where a selector (U+FE0F, U+20E3) makes it one.
_EMOJI_RANGES = (
    "\u231a\u231b\u23e9-\u23ec\u23f0\u23f3\u25fd\u25fe\u2614\u2615\u2639\u263a\u2648-\u2653\u267f"
    "\u2693\u26a1\u26aa\u26ab\u26bd\u26be\u26c4\u26c5\u26ce\u26d4\u26ea\u26f2\u26f3\u26f5\u26fa"
    "\u26fd\u2705\u270a\u270b\u2728\u274c\u274e\u2753-\u2755\u2757\u2763\u2764\u2795-\u2797\u27b0"
    "\u27bf\u2b1b\u2b1c\u2b50\u2b55\U0001f004\U0001f0cf\U0001f18e\U0001f191-\U0001f19a"
    "\U0001f1e6-\U0001f1ff\U0001f201\U0001f21a\U0001f22f\U0001f232-\U0001f236\U0001f238-\U0001f23a"
    "\U0001f250\U0001f251\U0001f300-\U0001f64f\U0001f680-\U0001f6ff\U0001f7e0-\U0001f7eb\U0001f7f0"
    "\U0001f90c-\U0001f9ff\U0001fa70-\U0001faff"
)
_EMOJI = re.compile(f"[{_EMOJI_RANGES}](?!\ufe0e)|[^\\s\\w]\ufe0f|[0-9#*]\ufe0f?\u20e3")
# ASCII, Spanish, doubled, fullwidth, small and vertical forms, emoji, Armenian, NKo, Limbu.
_EXCLAMATION = re.compile("[!¡‼⁉⁈！﹗︕❗❕՜߹᥄]")


def has_list(text: str) -> bool:
    """Whether at least two lines begin as those of a list do; code does not count."""
    return sum(map(is_item, prose_lines(text))) >= FEWEST_ITEMS


def has_heading(text: str) -> bool:
    """Whether a line is a heading: `#`, underlined, `<h2>`, or wholly bold; code does not count."""
    before = ""
    for line in prose_lines(text):
        if _HEADING.match(line) or _BOLD_LINE.match(line):
            return True
        if _UNDERLINE.match(line) and before.strip() and not is_item(before):
            return True
        before = line
    return False


def has_link(text: str) -> bool:
    """Whether there is an address of the web, or a Markdown or HTML link, also within code."""
    return bool(_LINK.search(text))


def emoji(text: str) -> tuple[str, ...]:
    """The emoji of a text, each once, in their order."""
    return tuple(dict.fromkeys(_EMOJI.findall(text)))


def exclamation_marks(text: str) -> int:
    """The number of exclamation marks of any script; in code (`!=`) they are none."""
    return sum(len(_EXCLAMATION.findall(line)) for line in prose_lines(text))
