"""How much the answers of a sample are alike. Pure functions on texts."""

from __future__ import annotations

import math
import zlib
from collections import Counter
from collections.abc import Iterable, Sequence

from cai.constitution.language import likeliest_language
from cai.quality.phrases import words


def distinct(texts: Sequence[str], size: int) -> float | None:
    """Different runs of `size` words over all of them: 1 where none comes twice.

    Li et al. 2016, "A diversity-promoting objective function for neural conversation models". It
    falls with the amount of text, so it is for samples of one size.
    """
    seen: set[tuple[str, ...]] = set()
    total = 0
    for text in texts:
        sequence = words(text)
        runs = list(zip(*(sequence[start:] for start in range(size)), strict=False))
        total += len(runs)
        seen.update(runs)
    return len(seen) / total if total else None


def compression_ratio(texts: Sequence[str]) -> float | None:
    """Bytes of the texts, a line each, over their bytes when compressed; more is more alike.

    Shaib et al. 2024, "Standardizing the measurement of text diversity" (with zlib, level 6).
    """
    data = "\n".join(texts).encode("utf-8", "replace")
    return len(data) / len(zlib.compress(data)) if data else None


def self_bleu(texts: Sequence[str], size: int = 4) -> list[float]:
    """Of each text its BLEU against all others: 1 where all that it says, others say too.

    Zhu et al. 2018, "Texygen: a benchmarking platform for text generation models"; BLEU of
    Papineni et al. 2002 with uniform weights, add-one smoothing of the counts above one word (Lin
    and Och 2004), and the reference nearest in length for the brevity penalty.
    """
    tokens = [words(text) for text in texts]
    if len(tokens) < 2:
        return []
    scores = [0.0] * len(tokens)
    for n in range(1, size + 1):
        counts = [Counter(zip(*(t[i:] for i in range(n)), strict=False)) for t in tokens]
        most = _two_most(counts)
        for number, own in enumerate(counts):
            matched = sum(min(c, _others(most[gram], number)) for gram, c in own.items())
            total, added = sum(own.values()), int(n > 1)
            precision = (matched + added) / (total + added) if total + added else 0.0
            scores[number] += math.log(precision) / size if precision else -math.inf
    lengths = [len(t) for t in tokens]
    return [
        math.exp(score) * _brevity(length, [*lengths[:i], *lengths[i + 1 :]])
        for i, (score, length) in enumerate(zip(scores, lengths, strict=True))
    ]


def _two_most(
    counts: Iterable[Counter[tuple[str, ...]]],
) -> dict[tuple[str, ...], tuple[int, int, int]]:
    """Of each run: its most in one text, in which, and its most in any other."""
    most: dict[tuple[str, ...], tuple[int, int, int]] = {}
    for number, own in enumerate(counts):
        for gram, count in own.items():
            first, where, second = most.get(gram, (0, -1, 0))
            if count > first:
                most[gram] = (count, number, first)
            elif count > second:
                most[gram] = (first, where, count)
    return most


def _others(most: tuple[int, int, int], number: int) -> int:
    first, where, second = most
    return second if where == number else first


def _brevity(length: int, others: Sequence[int]) -> float:
    nearest = min(others, key=lambda other: (abs(other - length), other))
    return 1.0 if length >= nearest else math.exp(1 - nearest / length) if length else 0.0


def languages(texts: Iterable[str]) -> dict[str, int]:
    """How many texts are in which language, by py3langid; `?` where there is too little text."""
    counts = Counter(likeliest_language(text) or "?" for text in texts)
    return dict(sorted(counts.items(), key=lambda item: (-item[1], item[0])))
