"""Pictures as SVG: marks by class, so that the page's style gives them their colours."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple

from markupsafe import Markup, escape

from cai.report.words import shown


class Picture(NamedTuple):
    """A picture with its title, which says what is seen, its words, and the table behind it."""

    title: str
    words: str
    svg: Markup
    head: Sequence[str]
    rows: Sequence[Sequence[str]]
    wide: bool = False


def tag(name: str, content: object = "", **attributes: object) -> Markup:
    """An element; `class_` and `text_anchor` become `class` and `text-anchor`."""
    pairs = Markup("").join(
        Markup(' {}="{}"').format(Markup(key.rstrip("_").replace("_", "-")), _value(value))
        for key, value in attributes.items()
        if value is not None
    )
    name = Markup(name)
    return Markup("<{}{}>{}</{}>").format(name, pairs, escape(content), name)


def _value(value: object) -> object:
    return f"{value:.1f}".removesuffix(".0") if isinstance(value, float) else value


def joined(parts: Iterable[Markup]) -> Markup:
    return Markup("").join(parts)


def text(x: float, y: float, words: str, class_: str = "", anchor: str = "start") -> Markup:
    return tag("text", shown(words), x=x, y=y, class_=class_ or None, text_anchor=anchor)


def rect(x: float, y: float, width: float, height: float, class_: str) -> Markup:
    return tag("rect", x=x, y=y, width=max(width, 0.0), height=max(height, 0.0), class_=class_)


def line(x1: float, y1: float, x2: float, y2: float, class_: str = "axis") -> Markup:
    return tag("line", x1=x1, y1=y1, x2=x2, y2=y2, class_=class_)


def drawing(width: int, height: float, label: str, parts: Iterable[Markup]) -> Markup:
    """A whole picture with what it shows in words."""
    return tag(
        "svg",
        joined(parts),
        viewBox=f"0 0 {width} {height:.0f}",
        role="img",
        aria_label=shown(label),
    )


WIDTH = 360  # of a picture that stands in one of two columns


def histogram(
    label: str,
    series: Sequence[tuple[str, str, Mapping[int, int]]],
    ends: tuple[str, str, str],
    bins: int,
) -> Markup:
    """Stacked bars over `bins` steps of one axis.

    Args:
        label: What it shows.
        series: Name, class and counts by bin, the lowest of a stack first.
        ends: What stands under the axis: at its start, in its middle, at its end.
        bins: How many steps there are.
    """
    height, base = 172.0, 146.0
    most = max((sum(c.get(n, 0) for _, _, c in series) for n in range(bins)), default=0) or 1
    step = WIDTH / bins
    parts = [line(0, base, WIDTH, base)]
    for n in range(bins):
        y = base
        for _, class_, counts in series:
            size = 118.0 * counts.get(n, 0) / most
            parts.append(rect(n * step + 1, y - size, step - 2, size, class_))
            y -= size
    parts += [
        text(0, base + 18, ends[0], "small"),
        text(WIDTH / 2, base + 18, ends[1], "small", "middle"),
        text(WIDTH, base + 18, ends[2], "small", "end"),
    ]
    return drawing(WIDTH, height, label, [*parts, *legend(series)])


def legend(series: Sequence[tuple[str, str, object]]) -> list[Markup]:
    """The names of the colours, along the top."""
    if len(series) < 2:
        return []
    parts, x = [], 0.0
    for name, class_, _ in series:
        parts += [rect(x, 3, 10, 10, class_), text(x + 15, 12, name, "small")]
        x += 30 + 6.2 * len(name)
    return parts


def bars(label: str, rows: Sequence[tuple[str, int, str]]) -> Markup:
    """Counts as bars, each with its name above it: name, count, class."""
    most = max((n for _, n, _ in rows), default=1) or 1
    parts, y = [], 0.0
    for name, n, class_ in rows:
        parts.append(text(0, y + 13, cut(name, 44)))
        parts.append(text(WIDTH, y + 13, f"{n:,}", "number", "end"))
        parts.append(rect(0, y + 19, WIDTH, 7, "track"))
        parts.append(rect(0, y + 19, max(2.0, WIDTH * n / most), 7, class_))
        y += 38
    return drawing(WIDTH, max(y, 20.0), label, parts)


def cut(words: str, most: int) -> str:
    return words if len(words) <= most else words[: most - 1] + "…"


class Node(NamedTuple):
    """A box of a flow: its name, what is written beside it, and its class."""

    key: str
    label: str
    class_: str


def flow(
    label: str,
    columns: Sequence[tuple[float, Sequence[Node]]],
    links: Mapping[tuple[int, str, str], int],
    width: int = 960,
) -> Markup:
    """Bands from the boxes of one column to those of the next, as wide as they are many.

    Args:
        label: What it shows.
        columns: Where each column stands, and its boxes.
        links: How many go from a box of a column (by number) to a box of the next.
        width: Of the picture.
    """
    total = max(sum(n for (column, _, _), n in links.items() if column == 0), 1)
    longest = max(len(nodes) for _, nodes in columns)
    scale = max(120.0, 200.0 - 12 * longest) / total
    places: dict[tuple[int, str], list[float]] = {}  # where the next band leaves and comes in
    parts: list[Markup] = []
    boxes: list[Markup] = []
    height = 0.0
    for number, (x, nodes) in enumerate(columns):
        y = 6.0
        for node in nodes:
            out = sum(n for (c, key, _), n in links.items() if (c, key) == (number, node.key))
            into = sum(n for (c, _, key), n in links.items() if (c + 1, key) == (number, node.key))
            size = max(max(out, into) * scale, 1.5)
            boxes.append(rect(x, y, 9, size, node.class_))
            boxes.append(text(x + 16, y + size / 2 + 4.5, node.label, "halo"))
            places[number, node.key] = [y, y]
            y += max(size, 15.0) + 10
        height = max(height, y)
    by_name = {
        (c, n.key): (i, n) for c, (_, nodes) in enumerate(columns) for i, n in enumerate(nodes)
    }
    order = sorted(links, key=lambda k: (k[0], by_name[k[0], k[1]][0], by_name[k[0] + 1, k[2]][0]))
    for column, one, other in order:
        size = links[column, one, other] * scale
        start, end = places[column, one], places[column + 1, other]
        x1, x2 = columns[column][0] + 9, columns[column + 1][0]
        parts.append(
            _band((x1, start[0]), (x2, end[1]), size, by_name[column + 1, other][1].class_)
        )
        start[0] += size
        end[1] += size
    return drawing(width, height, label, [*parts, *boxes])


def _band(start: tuple[float, float], end: tuple[float, float], size: float, class_: str) -> Markup:
    (x1, y1), (x2, y2) = start, end
    middle, width = (x1 + x2) / 2, max(size, 0.8)
    curve = (
        f"M{x1:.1f} {y1:.1f}C{middle:.1f} {y1:.1f} {middle:.1f} {y2:.1f} {x2:.1f} {y2:.1f}"
        f"v{width:.1f}C{middle:.1f} {y2 + width:.1f} {middle:.1f} {y1 + width:.1f} "
        f"{x1:.1f} {y1 + width:.1f}Z"
    )
    return tag("path", d=curve, class_=f"band {class_}")
