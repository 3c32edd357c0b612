"""Near-duplicates: the exact join beside MinHash of datasketch and rensa, in one run.

    python benchmarks/duplicates.py [--documents 52000] [--checked 3000] [--alone]

Texts of about 150 words are drawn from a vocabulary of 50,000 by Zipf's law, always the same. A
tenth of them copy an earlier one with 0 to 6 words changed. All tools get the same shingles, and
each has its turn; their seconds are without the time that making the shingles takes, which is
printed. MinHash has 128 permutations; its candidates are counted as they come. On the first
--checked texts and their copies the join is compared with counting every pair. A second table is of
sets whose shingles nearly all are in very many of them.

    pip install datasketch rensa
"""

from __future__ import annotations

import argparse
import importlib.util
import resource
import time
from collections.abc import Callable, Iterator

import numpy as np

from cai.quality.duplicates import THRESHOLD, earlier_duplicates
from cai.quality.shingles import Collection, Shingles

VOCABULARY, WORDS, SHARE = 50_000, 150, 10
PERMUTATIONS = 128
BINS = (0.7, 0.8, 0.9, 1.0)
Pairs = dict[int, list[int]]  # of a text: those before it that are said to be like it


def documents(n: int) -> Iterator[tuple[str, int]]:
    """Texts, each with the number of the one that it copies, or -1."""
    draw = np.random.default_rng(0)
    names = [f"w{i:x}" for i in range(VOCABULARY)]
    weights = np.cumsum(1 / np.arange(1, VOCABULARY + 1))
    kept: list[np.ndarray] = []
    for number in range(n):
        source = int(draw.integers(len(kept))) if number % SHARE == SHARE - 1 else -1
        if source < 0:
            size = draw.poisson(WORDS)
            words = np.searchsorted(weights / weights[-1], draw.random(size)).astype(np.uint16)
        else:
            words = kept[source].copy()
            changed = draw.integers(len(words), size=draw.integers(7))
            words[changed] = draw.integers(VOCABULARY, size=len(changed))
        kept.append(words)
        yield " ".join(names[i] for i in words), source


def similarity(sets: Shingles, one: int, other: int) -> float:
    a, b = (sets.hashes[sets.offsets[i] : sets.offsets[i + 1]] for i in (one, other))
    shared = len(np.intersect1d(a, b, assume_unique=True))
    return shared / (len(a) + len(b) - shared)


def ours(sets: Shingles) -> Pairs:
    found = earlier_duplicates(sets)
    assert found.unfinished == 0
    return {i: [found.rows[i]] for i in np.flatnonzero(found.rows >= 0).tolist()}


def of_datasketch(sets: Shingles) -> Pairs:
    from datasketch import MinHash, MinHashLSH

    index, pairs = MinHashLSH(threshold=THRESHOLD, num_perm=PERMUTATIONS), {}
    tokens = np.split(sets.hashes & np.uint64(0xFFFFFFFF), sets.offsets[1:-1])
    sketches = MinHash.bulk(tokens, num_perm=PERMUTATIONS, hashfunc=int)
    for number, sketch in enumerate(sketches):
        pairs[number] = index.query(sketch)
        index.insert(number, sketch)
    return pairs


def of_rensa(bands: int) -> Callable[[Shingles], Pairs]:
    def pairs(sets: Shingles) -> Pairs:
        from rensa import RMinHash, RMinHashLSH

        data = sets.hashes.tobytes()
        tokens = [
            [data[8 * i : 8 * i + 8] for i in range(start, end)]
            for start, end in zip(sets.offsets[:-1], sets.offsets[1:], strict=True)
        ]
        sketches = RMinHash.from_token_sets(tokens, PERMUTATIONS, 42)
        index = RMinHashLSH(THRESHOLD, PERMUTATIONS, bands)
        index.insert_many(sketches)
        candidates = index.query_all(sketches)
        return {i: [j for j in own if j < i] for i, own in enumerate(candidates)}

    return pairs


def every_pair(sets: Shingles) -> list[int]:
    """The earliest partner of each text, from a matrix of what all of them share."""
    _, column, counts = np.unique(sets.hashes, return_inverse=True, return_counts=True)
    number = np.cumsum(counts > 1) - 1
    several = counts[column] > 1
    table = np.zeros((sets.rows, number[-1] + 1), np.float32)
    table[np.repeat(np.arange(sets.rows), sets.sizes)[several], number[column[several]]] = 1
    shared = table @ table.T
    sizes = sets.sizes
    near = np.tril(shared / (sizes[:, None] + sizes - shared) >= np.float32(THRESHOLD), -1)
    return np.where(near.any(axis=1), near.argmax(axis=1), -1).tolist()


def hard_sets(n: int) -> Iterator[tuple[str, Shingles]]:
    """Sets most of whose shingles are in very many of them."""
    draw = np.random.default_rng(1)

    def fresh(*shape: int) -> np.ndarray:
        return draw.integers(0, 1 << 64, shape, dtype=np.uint64)

    paragraph = fresh(120)
    own = draw.integers(10, 61, n)
    yield (
        "120 shingles in all, 10 to 60 of its own",
        packed([np.concatenate([paragraph, fresh(k)]) for k in own]),
    )
    yield (
        "145 shingles in all, 5 of its own",
        packed(
            [np.concatenate([paragraph, paragraph[:25] + np.uint64(1), fresh(5)]) for _ in range(n)]
        ),
    )
    for choices in (50, 10):
        pieces = fresh(15, choices, 10)
        yield (
            f"15 pieces, each one of {choices}",
            packed(
                [pieces[np.arange(15), draw.integers(choices, size=15)].ravel() for _ in range(n)]
            ),
        )


def packed(rows: list[np.ndarray]) -> Shingles:
    ends = np.cumsum([len(row) for row in rows])
    return Shingles(np.concatenate([np.sort(row) for row in rows]), np.concatenate([[0], ends]))


def hard(n: int) -> None:
    print(f"\n| {n:,} texts | seconds | with a partner | not compared with all |")
    print("|---|---:|---:|---:|")
    for name, sets in hard_sets(n):
        start = time.perf_counter()
        found = earlier_duplicates(sets)
        seconds = time.perf_counter() - start
        print(f"| {name} | {seconds:.1f} | {found.total:,} | {found.unfinished:,} |", flush=True)


def line(
    name: str, pairs: Pairs, seconds: float, base: float, sets: Shingles, plants: dict[int, float]
) -> None:
    """One row of the table: planted copies found by their similarity, pairs that are none, time."""
    cells = []
    for low, high in zip(BINS, (*BINS[1:], 2), strict=True):
        own = [i for i, s in plants.items() if low <= s < high]
        cells.append(f"{sum(bool(pairs.get(i)) for i in own)} of {len(own)}")
    said = [(i, j) for i, own in pairs.items() for j in own]
    false = sum(similarity(sets, i, j) < THRESHOLD for i, j in said)
    print(f"| {name} | {' | '.join(cells)} | {false:,} of {len(said):,} | {seconds:.1f}", end="")
    print(f" | {seconds / base:.1f} |", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--documents", type=int, default=52_000)
    parser.add_argument("--checked", type=int, default=3_000)
    parser.add_argument("--alone", action="store_true", help="the first table, and no other tools")
    args = parser.parse_args()
    collection, sources, seconds = Collection(), [], 0.0
    for text, source in documents(args.documents):
        start = time.perf_counter()
        collection.add(text)
        seconds += time.perf_counter() - start
        sources.append(source)
    start = time.perf_counter()
    sets = collection.gathered().sets
    seconds += time.perf_counter() - start
    print(f"{sets.rows:,} texts, {len(sets.hashes):,} shingles, made in {seconds:.1f} s\n")

    few = sets.of_rows(np.arange(min(args.checked, sets.rows)))
    same = np.array(every_pair(few)) == earlier_duplicates(few).rows
    print(f"as counting every pair of {few.rows:,}: {same.sum():,} rows of {few.rows:,}\n")

    near = {i: similarity(sets, i, j) for i, j in enumerate(sources) if j >= 0}
    plants = {i: s for i, s in near.items() if s >= THRESHOLD}
    tools: dict[str, Callable[[Shingles], Pairs]] = {"cai, exact": ours}
    if not args.alone and importlib.util.find_spec("datasketch"):
        tools["datasketch"] = of_datasketch
    if not args.alone and importlib.util.find_spec("rensa"):
        tools |= {f"rensa, {bands} bands": of_rensa(bands) for bands in (16, 32)}
    bins = " | ".join(f"found, {low:.1f}" + ("–" if low < 1 else "") for low in BINS)
    print(f"| | {bins} | pairs below {THRESHOLD} | seconds | ratio |")
    print(f"|---|{'---:|' * (len(BINS) + 3)}")
    base = 0.0
    for name, tool in tools.items():
        start = time.perf_counter()
        pairs = tool(sets)
        seconds = time.perf_counter() - start
        base = base or seconds
        line(name, pairs, seconds, base, sets, plants)
    if not args.alone:
        hard(20_000)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6
    print(f"\npeak memory {peak:.1f} GB")


if __name__ == "__main__":
    main()
