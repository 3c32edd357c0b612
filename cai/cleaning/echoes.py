"""Does a text repeat what was read, instead of answering it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from rapidfuzz.distance import Levenshtein

from cai.cleaning.phrases import asking_words, negations
from cai.cleaning.units import CHARACTER_GRAM, gram_size, grams, is_unspaced, units

_LONGEST = 2000  # units that are aligned; an echo of more shows in its beginning
_FREE = 4  # units before and after a copy that do not make it an answer
_EDGE = 4  # units at each end of a prompt, most of which its copy has
_SHORT = 40  # a text of fewer units is compared in shorter grams


def echoes(text: str, source: str) -> bool:
    """Whether a text is a copy or a near copy of a source, and next to nothing else.

    A near copy has few units changed (up to one in seven, or a single word; an insertion counts
    half) and keeps the beginning and the end of the source: an answer that corrects a quoted text
    does not. Sources of less than 4 words or 6 characters do not count.
    """
    said, origin = units(text), units(source)
    unspaced = gram_size(origin) == CHARACTER_GRAM
    if len(origin) < (6 if unspaced else 4) or len(said) > 1.3 * len(origin) + _FREE:
        return False
    more = len(said) - len(origin)
    if said[: len(origin)] == origin and more <= _FREE:
        return True
    return _is_near(said[:_LONGEST], origin[:_LONGEST], unspaced) and not _answers(text, source)


def _is_near(said: Sequence[str], origin: Sequence[str], unspaced: bool) -> bool:
    edits = Levenshtein.editops(origin, said)
    edge = (2 if unspaced else 1) * _EDGE
    changed = {edit.src_pos for edit in edits if edit.tag != "insert"}
    kept = [at not in changed for at in range(len(origin))]
    if min(sum(kept[:edge]), sum(kept[-edge:])) < _most(min(edge, len(origin))):
        return False
    first = kept.index(True)  # there is one, by the line before
    if sum(e.tag == "insert" and e.src_pos <= first for e in edits) > edge // 2:
        return False  # "Did you say …?"
    last = len(kept) - 1 - kept[::-1].index(True)
    around = [e for e in edits if e.tag == "insert" and not first < e.src_pos <= last]
    inside = [e for e in edits if e.tag == "insert" and first < e.src_pos <= last]
    cost = len(changed) + len(inside) / 2 + max(0, len(around) - _FREE)
    return cost <= max(2 if unspaced else 1, 0.15 * len(origin))


def _most(edge: int) -> int:
    """Of 4 units 2, of 8 units 5: the changed word may be the first or the last."""
    return (edge + 1) // 2 + (edge > _EDGE)


def _answers(text: str, source: str) -> bool:
    """Whether what was changed makes an answer of a question, or denies what was said."""
    said, origin = (Counter(_words_of(t, asking_words())) for t in (text, source))
    if origin - said:
        return True
    # "Is it …?" that became "It is …" asks nothing any more.
    asked = source.rstrip()[-1:] in ("?", "？", "؟")
    first, head = units(source)[0], units(text)[: _FREE + 1]
    if asked and not any(mark in text for mark in "?？؟") and first not in head[:1]:
        return True
    return bool(Counter(_words_of(text, negations())) - Counter(_words_of(source, negations())))


def _words_of(text: str, words: frozenset[str]) -> Sequence[str]:
    """Those of the words that stand in a text; in unspaced scripts, as parts of it."""
    sequence = units(text)
    spaced = [unit for unit in sequence if unit in words]
    folded = "".join(sequence)
    unspaced = [w for w in words if is_unspaced(w) for _ in range(folded.count(w))]
    return spaced + [w for w in unspaced if len(units(w)) > 1]


def copied_share(text: str, sources: Sequence[str]) -> float:
    """The share of a text's units that stand in the sources in the same run of units, in [0, 1].

    Runs are of 4 words or 8 characters; in a text of under 40 units of 3 words or 5 characters.
    """
    sequence = units(text)
    size = _run(sequence)
    known = {gram for source in sources for gram in grams(units(source), size)}
    copied = [False] * len(sequence)
    for at, gram in enumerate(grams(sequence, size)):
        if gram in known:
            copied[at : at + size] = [True] * size
    return sum(copied) / len(sequence) if sequence else 0.0


def copies_a_run(text: str, sources: Sequence[str]) -> bool:
    """Whether a long run of units stands in a source too: 8 words, or 16 characters.

    An answer does not share so much with a request of ours by chance; a small model puts the
    request's own words into its answer.
    """
    sequence = units(text)
    size = 16 if gram_size(sequence) == CHARACTER_GRAM else 8
    known = {gram for source in sources for gram in grams(units(source), size)}
    return any(gram in known for gram in grams(sequence, size))


def _run(sequence: Sequence[str]) -> int:
    size = gram_size(sequence)
    if len(sequence) >= _SHORT:
        return size
    return 5 if size == CHARACTER_GRAM else 3


def repeats(text: str, critique: str) -> bool:
    """Whether a text gives a critique again, not what the critique proposed to write.

    More than half of the text stands in the critique, and more than half of the critique in the
    text or the first units of both are the same.
    """
    if copied_share(text, [critique]) <= 0.5:
        return False
    said, origin = units(text), units(critique)
    size = _run(said)
    same_head = len(said) >= size and said[:size] == origin[:size]
    return same_head or copied_share(critique, [text]) > 0.5
