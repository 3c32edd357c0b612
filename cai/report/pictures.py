"""The pictures of a run: what became of its prompts and pairs, labels, lengths, failures."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence

from markupsafe import Markup

from cai.calibration import Bin
from cai.report.svg import (
    WIDTH,
    Node,
    Picture,
    bars,
    cut,
    drawing,
    flow,
    histogram,
    line,
    rect,
    tag,
    text,
)
from cai.report.tally import BINS, Lengths, Tally
from cai.report.words import percent, plural, share
from cai.statistics import wilson

_NEUTRAL = {"no chain", "not asked for", "first answer"}


def pictures(tally: Tally, bins: Sequence[Bin] = ()) -> Iterator[Picture]:
    """The pictures that there is something to show in."""
    if tally.prompts:
        yield of_prompts(tally)
    if tally.pairs:
        yield of_pairs(tally)
    if tally.kept or tally.left_out:
        yield of_labels(tally)
        yield of_orders(tally)
    if bins:
        yield of_calibration(bins)
    if tally.lengths["first answer"].n or tally.lengths["chosen"].n:
        yield of_lengths(tally)
    if tally.failures:
        yield of_failures(tally)


def _class(name: str) -> str:
    if name in _NEUTRAL:
        return "grey"
    bad = name not in ("in sft", "kept") and not name.startswith(
        ("revised", "unchanged", "answered")
    )
    return "orange" if bad else "blue"


def of_prompts(tally: Tally) -> Picture:
    kinds, changes, fates = (Counter[str]() for _ in range(3))
    links: Counter[tuple[int, str, str]] = Counter()
    for (kind, done, fate), n in tally.flow.items():
        kinds[kind] += n
        changes[done] += n
        links[0, kind, done] += n
        if done != "failed":
            fates[fate] += n
            links[1, done, fate] += n
    columns = [
        (0, [Node(k, f"{k} · {n:,}", "grey") for k, n in kinds.most_common()]),
        (330, [Node(k, f"{k} · {n:,}", _class(k)) for k, n in _best_first(changes)]),
        (700, [Node(k, f"{cut(_fate(k), 28)} · {n:,}", _class(k)) for k, n in _best_first(fates)]),
    ]
    rows = [(k, d, f, f"{n:,}") for (k, d, f), n in sorted(tally.flow.items())]
    title = f"{share(tally.fate('in sft'), tally.prompts)} prompts became a row to learn from"
    if not tally.sft:
        title = f"{share(tally.prompts - tally.failed, tally.prompts)} prompts gave a row"
    words = "From left to right: the prompts by kind, what became of the answer, and where it went."
    if tally.failed:
        words += " What failed is told in its own picture."
    svg = flow(f"{title}. {words}", columns, links)
    return Picture(title, words, svg, ("kind", "answer", "where it went", "prompts"), rows, True)


def _best_first(counts: Counter[str]) -> list[tuple[str, int]]:
    """What is good first, so that few bands cross."""
    rank = {"blue": 0, "grey": 1, "orange": 2}
    return sorted(counts.items(), key=lambda item: (rank[_class(item[0])], -item[1], item[0]))


def _fate(name: str) -> str:
    return name if name in ("in sft", *_NEUTRAL) else f"left out: {name}"


def _pair_class(name: str) -> str:
    return "blue" if name == "kept" else "orange"


def of_pairs(tally: Tally) -> Picture:
    sources, fates = Counter[str](), Counter[str]()
    links: Counter[tuple[int, str, str]] = Counter()
    for (source, fate), n in tally.pairs.items():
        sources[source] += n
        fates[fate] += n
        links[0, source, fate] += n
    kept_first = sorted(fates.items(), key=lambda item: (item[0] != "kept", -item[1], item[0]))
    columns = [
        (0, [Node(k, f"{k} pairs · {n:,}", "grey") for k, n in sources.most_common()]),
        (560, [Node(k, f"{_pair_fate(k)} · {n:,}", _pair_class(k)) for k, n in kept_first]),
    ]
    title = f"{share(fates['kept'], sum(fates.values()))} pairs became a row of preferences"
    words = "A pair is two answers to one prompt. A judge says which one is better, in both orders."
    rows = [(s, _pair_fate(f), f"{n:,}") for (s, f), n in sorted(tally.pairs.items())]
    svg = flow(f"{title}. {words}", columns, links)
    return Picture(title, words, svg, ("pairs", "where they went", "how many"), rows, True)


def _pair_fate(name: str) -> str:
    return "in preferences" if name == "kept" else f"left out: {name}"


def of_labels(tally: Tally) -> Picture:
    total = tally.kept.total() + tally.left_out.total()
    sure = sum(c[n] for c in (tally.kept, tally.left_out) for n in range(BINS // 2, BINS))
    title = f"{percent(sure / total)} of the labels are surer than 75 %"
    words = (
        "How sure the judge is of the better answer: 50 % is no opinion, 100 % is certain. "
        "Many labels near 50 % mean that the judge sees little difference."
    )
    series = [("in preferences", "blue", tally.kept), ("left out", "orange", tally.left_out)]
    rows = [
        (f"{50 + 50 * n / BINS:.1f} to {50 + 50 * (n + 1) / BINS:.1f} %",
         f"{tally.kept[n]:,}", f"{tally.left_out[n]:,}")
        for n in range(BINS)
    ]  # fmt: skip
    svg = histogram(f"{title}. {words}", series, ("50 %", "75 %", "100 %"), BINS)
    return Picture(title, words, svg, ("probability", "in preferences", "left out"), rows)


def of_orders(tally: Tally) -> Picture:
    total = tally.gaps.total()
    near = sum(tally.gaps[n] for n in range(BINS // 5))
    title = f"{percent(near / total)} of the labels hardly depend on the order (gap below 0.2)"
    words = (
        "Each pair is judged twice, with either answer first. The gap says how far the two "
        "judgements are apart: 0 is none, 1 means that the judge only looks at the place."
    )
    rows = [(f"{n / BINS:.2f} to {(n + 1) / BINS:.2f}", f"{tally.gaps[n]:,}") for n in range(BINS)]
    svg = histogram(f"{title}. {words}", [("labels", "blue", tally.gaps)], ("0", "0.5", "1"), BINS)
    return Picture(title, words, svg, ("gap of the orders", "labels"), rows)


def of_calibration(bins: Sequence[Bin]) -> Picture:
    size, left, base = 210.0, 44.0, 220.0
    parts = [
        line(left, base, left + size, base),
        line(left, base - size, left, base),
        tag("line", x1=left, y1=base - size / 2, x2=left + size, y2=base - size, class_="diagonal"),
    ]
    for b in bins:
        x, y = left + size * (2 * b.confidence - 1), base - size * b.accuracy
        low, high = wilson(b.accuracy * b.count, b.count)
        parts.append(line(x, base - size * low, x, base - size * high, "whisker"))
        parts.append(tag("circle", cx=x, cy=y, r=4.5, class_="dot"))
    for at in (0.0, 0.5, 1.0):
        parts.append(text(left - 6, base - size * at + 4, percent(at), "small", "end"))
        parts.append(text(left + size * at, base + 18, percent(0.5 + at / 2), "small", "middle"))
    title = "How often this judge was right, by how sure it was"
    words = (
        "From its check on pairs with a known answer. On the dashed line it is as often right as "
        "it is sure; below the line it is too sure of itself. The bars are 95 % intervals."
    )
    rows = [(percent(b.confidence), percent(b.accuracy), f"{b.count:,}") for b in bins]
    svg = drawing(WIDTH, base + 26, f"{title}. {words}", parts)
    return Picture(title, words, svg, ("sure", "right", "pairs"), rows)


_QUANTILES = (0.05, 0.25, 0.5, 0.75, 0.95)


def of_lengths(tally: Tally) -> Picture:
    names = [n for n in ("first answer", "final text", "chosen", "rejected") if tally.lengths[n].n]
    quantiles = {n: [tally.lengths[n].quantile(q) for q in _QUANTILES] for n in names}
    most = max(q[-1] for q in quantiles.values()) or 1.0
    parts, y = [], 0.0
    for name in names:
        parts += _box(name, tally.lengths[name], quantiles[name], most, y)
        y += 44
    one, other = (names[0], names[1]) if len(names) > 1 else (names[0], names[0])
    before, after = quantiles[one][2], quantiles[other][2]
    title = f"Half of the texts are shorter than {after:,.0f} words ({other})"
    if len(names) > 1:
        title = f"A text in the middle has {before:,.0f} words ({one}) and {after:,.0f} ({other})"
    words = (
        "The line is the text in the middle; half of all texts lie in the box, 90 % on the thin "
        "line. Where words are not spaced, characters count."
    )
    rows = [(n, *(f"{q:,.0f}" for q in quantiles[n]), f"{tally.lengths[n].n:,}") for n in names]
    svg = drawing(WIDTH, y + 4, f"{title}. {words}", parts)
    head = ("texts", "5 %", "25 %", "middle", "75 %", "95 %", "how many")
    return Picture(title, words, svg, head, rows)


def _box(
    name: str, lengths: Lengths, quantiles: Sequence[float], most: float, y: float
) -> list[Markup]:
    low, first, middle, third, high = (WIDTH * q / most for q in quantiles)
    class_ = "orange" if name == "rejected" else "blue"
    return [
        text(0, y + 13, name),
        text(WIDTH, y + 13, f"{quantiles[2]:,.0f} words", "number", "end"),
        line(low, y + 27, high, y + 27, "whisker"),
        rect(first, y + 20, max(third - first, 2.0), 14, f"{class_} soft"),
        rect(middle - 1.5, y + 18, 3, 18, class_),
    ]


def of_failures(tally: Tally) -> Picture:
    counts = tally.failures.most_common()
    stage, error, _ = counts[0][0]
    title = f"{plural(tally.failures.total(), 'thing')} failed, most often: {stage} ({error})"
    words = "What could not be made, by the stage and the reason. The other rows went on."
    marks = [(f"{stage}: {error} ({of})", n, "orange") for (stage, error, of), n in counts[:8]]
    rows = [(stage, error, of, f"{n:,}") for (stage, error, of), n in counts]
    svg = bars(f"{title}. {words}", marks)
    return Picture(title, words, svg, ("stage", "reason", "of", "how many"), rows)
