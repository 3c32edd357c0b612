"""Near-duplicates: the join beside counting every pair, and texts of every kind."""

from __future__ import annotations

import random
import subprocess
import sys
from collections.abc import Iterable, Sequence

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from cai.cleaning.units import grams, units
from cai.quality import join
from cai.quality.duplicates import (
    Partners,
    duplicates_between,
    earlier_duplicates,
    leaks,
    near_duplicates,
)
from cai.quality.shingles import Collection, Gathered, shingles

WORDS = st.lists(st.sampled_from(list("abcd我爱E")), max_size=14).map(" ".join)


def shingle_set(text: str) -> set[tuple[str, ...]]:
    sequence = units(text)
    return set(grams(sequence, 5)) or ({tuple(sequence)} if sequence else set())


def jaccard(one: str, other: str) -> float:
    a, b = shingle_set(one), shingle_set(other)
    return len(a & b) / len(a | b) if a and b else 0.0


def by_counting(
    texts: Sequence[str], ceilings: Iterable[int], threshold: float
) -> list[tuple[int, float]]:
    """The earliest partner of each text below its ceiling, from every pair."""
    found = []
    for i, ceiling in enumerate(ceilings):
        similarities = [jaccard(texts[i], texts[j]) for j in range(ceiling)]
        near = [j for j, similarity in enumerate(similarities) if similarity >= threshold]
        found.append((near[0], similarities[near[0]]) if near else (-1, 0.0))
    return found


def pairs(partners: Partners) -> list[tuple[int, float]]:
    return list(zip(partners.rows.tolist(), partners.similarities.tolist(), strict=True))


def documents(n: int, seed: int, words: int = 60) -> list[list[str]]:
    """Texts of words some of which are frequent; a third nearly repeats an earlier one."""
    draw = random.Random(seed)
    rows: list[list[str]] = []
    for _ in range(n):
        if rows and draw.random() < 1 / 3:
            row = list(draw.choice(rows))
            for _ in range(draw.randrange(6)):
                row[draw.randrange(len(row))] = f"new{draw.randrange(1000)}"
            row = row[: len(row) - draw.randrange(5)] or row
        else:
            size = draw.randrange(1, words)
            row = [f"w{int(draw.paretovariate(0.6)) % 3000}" for _ in range(size)]
        rows.append(row)
    return rows


@given(st.lists(WORDS, max_size=12), st.sampled_from([0.3, 0.5, 0.7, 1.0]))
def test_the_join_finds_what_counting_every_pair_finds(texts: list[str], threshold: float) -> None:
    found = earlier_duplicates(shingles(texts), threshold)
    assert pairs(found) == by_counting(texts, range(len(texts)), threshold)
    assert found.unfinished == 0


@given(st.lists(WORDS, max_size=8), st.lists(WORDS, max_size=8))
def test_between_two_sets_the_earliest_of_the_first_is_found(a: list[str], b: list[str]) -> None:
    found = duplicates_between(shingles(a), shingles(b), 0.5)
    ceilings = [0] * len(a) + [len(a)] * len(b)
    assert pairs(found) == by_counting(a + b, ceilings, 0.5)[len(a) :]


@given(st.lists(WORDS, min_size=1, max_size=8))
def test_similarity_is_symmetric(texts: list[str]) -> None:
    def pairs_of(order: list[int]) -> set[frozenset[int]]:
        found = set()
        for k, i in enumerate(order):
            for j in order[:k]:
                if duplicates_between(shingles([texts[j]]), shingles([texts[i]])).total:
                    found.add(frozenset((i, j)))
        return found

    order = list(range(len(texts)))
    assert pairs_of(order) == pairs_of(order[::-1])


@pytest.mark.parametrize("threshold", [0.5, 0.7, 0.9])
def test_3000_documents_beside_a_matrix_of_all_similarities(threshold: float) -> None:
    sets = shingles(" ".join(row) for row in documents(3000, seed=1))
    _, column, counts = np.unique(sets.hashes, return_inverse=True, return_counts=True)
    several = counts[column] > 1  # the others are shared by no two
    _, column = np.unique(column[several], return_inverse=True)
    table = np.zeros((sets.rows, column.max() + 1), np.float32)
    table[np.repeat(np.arange(sets.rows), sets.sizes)[several], column] = 1
    shared = table @ table.T
    similarity = shared / (sets.sizes[:, None] + sets.sizes[None] - shared)
    near = np.tril(similarity >= np.float32(threshold), -1)
    expected = np.where(near.any(axis=1), near.argmax(axis=1), -1)
    found = earlier_duplicates(sets, threshold)
    assert (expected >= 0).sum() > 100
    assert found.rows.tolist() == expected.tolist()
    partner = found.rows >= 0
    assert found.similarities[partner] == pytest.approx(
        similarity[np.arange(sets.rows), expected][partner]
    )


def test_equal_empty_and_short_texts() -> None:
    texts = ["", "Yes.", "...", "yes", "No", "", "one two three", "One, two: THREE!", "three two"]
    assert pairs(earlier_duplicates(shingles(texts))) == [
        *[(-1, 0.0)] * 3,
        (1, 1.0),
        *[(-1, 0.0)] * 3,
        (6, 1.0),
        (-1, 0.0),
    ]
    assert earlier_duplicates(shingles([])).total == 0
    assert earlier_duplicates(shingles([""])).total == 0


def test_punctuation_and_case_play_no_part_and_order_does() -> None:
    words = [f"word{i}" for i in range(20)]
    texts = [" ".join(words), ", ".join(words).upper() + "!", " ".join(words[::-1])]
    assert earlier_duplicates(shingles(texts)).rows.tolist() == [-1, 0, -1]


def test_chinese_is_compared_by_characters() -> None:
    one = "请给我推荐一家适合全家人周末聚餐的餐厅,价格不要太贵。"
    other = "请给我推荐一家适合全家人周末聚餐的饭店,价格不要太贵。"
    mixed = "Translate: " + one
    found = earlier_duplicates(shingles([one, "今天天气很好我们去公园散步吧", other, mixed]))
    # 25 characters make 21 shingles. Two of them changed are in 6: 15 of 27 are shared.
    assert found.rows.tolist() == [-1, -1, -1, 0]
    assert found.similarities[3] == jaccard(one, mixed) == 21 / 22
    assert earlier_duplicates(shingles([one, other]), 0.5).similarities[1] == 15 / 27


def test_the_earliest_partner_counts_whatever_copies_come_between() -> None:
    words = [f"w{i}" for i in range(40)]
    a, b, c = words, [*words[:-1], "x"], [*words[:-2], "x", "y"]
    texts = [" ".join(row) for row in (a, b, c, b, a)]
    assert earlier_duplicates(shingles(texts)).rows.tolist() == [-1, 0, 0, 0, 0]
    train, test = shingles(texts[1:3]), shingles([texts[2], texts[0], "something else"])
    assert duplicates_between(train, test).rows.tolist() == [0, 0, -1]


@pytest.mark.parametrize("own", [30, 60])  # of 120 words that are the same: Jaccard 0.67, 0.5
def test_a_paragraph_that_all_texts_have_makes_no_duplicates(own: int) -> None:
    """Every text is compared with none, although its shingles are in all of them."""
    draw = random.Random(own)
    paragraph = [f"rule{i}" for i in range(120)]
    rows = [
        " ".join([*paragraph, *(f"w{draw.randrange(10**6)}" for _ in range(own))])
        for _ in range(3000)
    ]
    rows[2999] = rows[17].replace("rule5 ", "")
    found = earlier_duplicates(shingles(rows))
    assert (np.flatnonzero(found.rows >= 0).tolist(), found.rows[2999]) == ([2999], 17)
    assert found.unfinished == 0


def test_copies_with_a_name_of_their_own_are_compared_with_the_first() -> None:
    letter = [f"word{i}" for i in range(80)]
    rows = [" ".join([*letter[:40], f"name{i}", *letter[40:]]) for i in range(5000)]
    found = earlier_duplicates(shingles(rows))
    assert found.rows.tolist() == [-1] + [0] * 4999


def test_what_was_not_compared_is_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    draw = random.Random(0)
    parts = [[[f"p{i}{j}{k}" for k in range(10)] for j in range(3)] for i in range(8)]
    rows = [" ".join(w for part in parts for w in draw.choice(part)) for _ in range(600)]
    whole = earlier_duplicates(shingles(rows))
    monkeypatch.setattr(join, "MOST", 5)
    bounded = earlier_duplicates(shingles(rows))
    assert whole.unfinished == 0
    missed = (whole.rows >= 0) & (bounded.rows < 0)
    assert 0 < missed.sum() <= bounded.unfinished
    there = bounded.rows >= 0
    assert (bounded.rows[there] >= whole.rows[there]).all()


def test_a_collection_above_its_bound_keeps_a_sample_and_counts_copies_in_all() -> None:
    rows = [" ".join(row) for row in documents(4000, seed=3)]
    exact = near_duplicates(gathered(rows))
    sample = near_duplicates(gathered(rows, most=40_000))
    assert (exact.method, sample.method) == ("exact", "sample")
    assert len(exact.measured) == 4000
    assert 300 < len(sample.measured) < 3000
    sure = sample.partners.similarities == 1
    assert set(np.flatnonzero(exact.partners.similarities == 1)) <= set(np.flatnonzero(sure))
    assert (sample.partners.rows < np.arange(4000)).all()
    share = sample.total / len(sample.measured)
    assert share == pytest.approx(exact.total / 4000, abs=0.06)
    assert gathered(rows, most=40_000).numbers.tolist() == sample.measured.tolist()


def gathered(texts: Iterable[str], most: int = 10**9) -> Gathered:
    collection = Collection(most)
    for text in texts:
        collection.add(text)
    return collection.gathered()


def test_a_planted_leak_from_train_to_test() -> None:
    rows = [" ".join(row) for row in documents(400, seed=5)]
    held_out = np.zeros(404, bool)
    held_out[380:] = True
    rows += [rows[7].upper(), "", "A text of the test rows alone that nobody else has"]
    rows += [rows[-1]]  # a near-duplicate within the test rows is no leak
    found = leaks(gathered(rows), held_out)
    expected = by_counting(rows, [0] * 380 + [380] * 24, 0.7)
    assert pairs(found.partners) == expected
    assert expected[400][0] >= 0
    assert found.partners.rows[401:].tolist() == [-1, -1, -1]
    assert (found.method, found.measured.tolist()) == ("exact", list(range(380, 404)))
    sample = leaks(gathered(rows, most=2000), held_out)
    assert sample.method == "sample"
    assert sample.partners.rows[400] >= 0  # copies are found in any case
    assert set(sample.measured.tolist()) < set(range(380, 404))


@pytest.mark.parametrize("held_out", [True, False])
def test_without_train_or_test_rows_nothing_leaks(held_out: bool) -> None:
    found = leaks(gathered(["a b c", "a b c"]), np.full(2, held_out))
    assert (found.total, len(found.measured)) == (0, 2 * held_out)


def test_shingles_are_the_same_in_every_process() -> None:
    code = (
        "from cai.quality.shingles import shingles; "
        "print(shingles(['The quick brown fox jumps over it', 'Ja', '']).hashes.tolist())"
    )
    one, other = (
        subprocess.run(
            [sys.executable, "-c", code],
            env={"PYTHONHASHSEED": seed, "PYTHONPATH": ":".join(sys.path)},
            capture_output=True,
            text=True,
            check=True,
        ).stdout
        for seed in "12"
    )
    assert one == other
    assert one.count(",") == 3


def test_a_threshold_is_a_similarity() -> None:
    with pytest.raises(ValueError, match="similarity"):
        earlier_duplicates(shingles(["a"]), 0)
