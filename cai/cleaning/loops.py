"""Is a text stuck: one piece again and again, also where the pieces are numbered."""

from __future__ import annotations

import re
from collections.abc import Sequence

from cai.cleaning.first import same_end
from cai.cleaning.units import CHARACTER_GRAM, gram_size, grams, units

LONGEST_PERIOD = 300  # characters, and units
_TIMES, _SPAN, _SURE_TIMES = 5, 80, 8
# "12.", "(3)", "- 4:", "**5)**", "第六," at the head of a line or of a sentence.
_LIST_NUMBER = re.compile(
    r"(?:^|(?<=[.!?।؟] )|(?<=[。！？;；,，]))[ \t]{0,8}[-*#•>(（]{0,3}[ \t]{0,3}"
    r"(?:\d{1,4}|第?[一二三四五六七八九十百]{1,4}|[ivxIVX]{1,6}|[a-zA-Z])[*_]{0,2}[.):、：）．]",
    re.MULTILINE,
)


def loops(text: str) -> bool:
    """Whether a text is stuck.

    Its end repeats one piece: the same 1 to 300 characters at least five times in a row, with a
    letter or an emoji in them, over at least 80 characters; or the same words with one number that
    changes, as in a numbered list. Or fewer than 40 % of its grams are distinct, of at least 60
    word grams or 120 character grams; numbers of lists do not make a gram another one.
    """
    if same_end(text) or _same_end_but_numbers(text) or _few_grams(units(text)):
        return True
    without = _LIST_NUMBER.sub(" ", text)
    return without != text and _few_grams(units(without))


def _few_grams(sequence: Sequence[str]) -> bool:
    size = gram_size(sequence)
    all_grams = grams(sequence, size)
    least = 120 if size == CHARACTER_GRAM else 60
    return len(all_grams) >= least and len(set(all_grams)) < 0.4 * len(all_grams)


def _same_end_but_numbers(text: str) -> bool:
    """Whether the end repeats words with exactly one number each time.

    A table of sums has several numbers a line, and says something new in each. The last piece may
    have been left unfinished.
    """
    words, before = [], []  # before: the numbers that stand before each word
    count = 0
    for unit in units(_LIST_NUMBER.sub(" 1 ", text)):
        if unit.isdigit():
            count += 1
        else:
            words.append(unit)
            before.append(count)
            count = 0
    if not any(before):
        return False
    for cut in (0, 1):
        end = words[: len(words) - cut][-2 * LONGEST_PERIOD * _TIMES :]
        numbers = before[: len(words) - cut][-len(end) :] if end else []
        for period, span in _periods(end):
            times = span // period
            long = period * times + sum(map(len, end[-period:])) * times
            enough = times >= _TIMES and (long >= _SPAN or times >= _SURE_TIMES)
            if enough and _one_number_each(numbers, period, times):
                return True
    return False


def _one_number_each(numbers: Sequence[int], period: int, times: int) -> bool:
    """Whether each of the last repetitions, but perhaps the first, has one number in it."""
    last = numbers[-period * (times - 1) :]
    return all(sum(last[at : at + period]) == 1 for at in range(0, len(last), period))


def _periods(sequence: Sequence[str]) -> list[tuple[int, int]]:
    """Each period, and over how many items from the end the sequence has it (Z algorithm)."""
    reverse = sequence[::-1]
    size = len(reverse)
    same = [0] * size
    left = right = 0
    for at in range(1, size):
        if at < right:
            same[at] = min(right - at, same[at - left])
        while at + same[at] < size and reverse[same[at]] == reverse[at + same[at]]:
            same[at] += 1
        if at + same[at] > right:
            left, right = at, at + same[at]
    longest = min(LONGEST_PERIOD, size // _TIMES)
    return [(period, period + same[period]) for period in range(1, longest + 1)]
