"""What each principle did, and which of them agree, as a picture and a table."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

from cai.report.svg import WIDTH, Picture, cut, drawing, rect, tag, text
from cai.report.tally import ByPrinciple, Tally
from cai.report.words import percent

MOST = 16  # principles in the picture; the table has all


class PrincipleRow(NamedTuple):
    """A principle in the table, its cells as words."""

    id: str
    cells: tuple[str, ...]


HEAD = (
    "in rounds",
    "asked for a change",
    "judged pairs",
    "agrees with the label",
    "gap of its orders",
    "looked at final texts",
    "found broken",
)


def table(tally: Tally) -> Iterator[PrincipleRow]:
    """A row for each principle, the most used first."""
    order = sorted(tally.principles.items(), key=lambda item: (-_uses(item[1]), item[0]))
    for name, p in order:
        yield PrincipleRow(
            name,
            (
                f"{p.drawn:,}",
                _of(p.asked_for_change, p.asked),
                f"{p.judged:,}",
                _of(p.agreed, p.told),
                f"{p.gap / p.judged:.2f}" if p.judged else "–",
                f"{p.assessed:,}",
                _of(p.broken, p.assessed),
            ),
        )


def _uses(p: ByPrinciple) -> int:
    return p.drawn + p.judged + p.assessed


def _of(part: int, whole: int) -> str:
    return percent(part / whole) if whole else "–"


def agreement(tally: Tally) -> Picture | None:
    """How often two principles prefer the same answer of a pair, where both prefer one."""
    judged = [(n, p) for n, p in tally.principles.items() if p.judged]
    names = [n for n, _ in sorted(judged, key=lambda item: (-item[1].judged, item[0]))][:MOST]
    if len(names) < 2 or not tally.together:
        return None
    cell, top = min(26.0, 200.0 / len(names)), 26.0
    left = WIDTH - cell * len(names) - 2
    parts, rows = [], []
    for row, one in enumerate(names):
        y = top + row * cell
        parts.append(
            text(0, y + cell / 2 + 4, f"{row + 1}  {cut(one, int(left / 6.4) - 3)}", "small")
        )
        parts.append(text(left + row * cell + cell / 2, top - 8, str(row + 1), "tiny", "middle"))
        for column, other in enumerate(names):
            n = tally.together[min(one, other), max(one, other)]
            if row == column or not n:
                parts.append(rect(left + column * cell, y, cell - 1.5, cell - 1.5, "track"))
                continue
            share = tally.agreement[min(one, other), max(one, other)] / n
            step = min(int(share * 10), 9)
            words = f"{one} and {other}: {percent(share)} of {n:,}"
            parts.append(
                tag(
                    "rect",
                    tag("title", words),
                    x=left + column * cell,
                    y=y,
                    width=cell - 1.5,
                    height=cell - 1.5,
                    class_=f"heat h{step}",
                )
            )
            if row < column:
                rows.append((one, other, percent(share), f"{n:,}"))
    total, same = tally.together.total(), tally.agreement.total()
    title = f"Two principles prefer the same answer in {percent(same / total)} of the cases"
    words = (
        "Each square is two principles, of the pairs in which both prefer an answer. Blue: they "
        "mostly agree. Orange: they mostly pull apart. Light: as by chance."
    )
    svg = drawing(WIDTH, top + cell * len(names) + 4, f"{title}. {words}", parts)
    return Picture(title, words, svg, ("principle", "and", "same answer", "pairs"), rows)
