"""Which principle is drawn when: pure functions of a seed, a prompt's id and a step."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Sequence

from cai.constitution.records import Principle
from cai.records import Prompt


def draw_principles(
    seed: int, prompt_id: str, step: int | str, among: Sequence[Principle], count: int = 1
) -> tuple[Principle, ...]:
    """Weighted rendezvous hashing: adding a principle moves draws to it and none between others.

    Each principle's score is -ln(u) / weight with u from SHA-256 of (seed, prompt, step,
    principle); the lowest win, which is a draw in proportion to the weights, without replacement.
    """

    def score(principle: Principle) -> float:
        address = f"{seed} {step} {principle.id} {prompt_id}"
        drawn = int.from_bytes(hashlib.sha256(address.encode()).digest()[:7], "big")
        return -math.log((drawn + 0.5) / 2**56) / principle.weight

    return tuple(sorted(among, key=score)[:count])


def of_order(among: Sequence[Principle], level: int) -> tuple[Principle, ...]:
    """The principles of the lowest `order` there is (level 1), of the next (2), and so on.

    Past the last order it is the last.
    """
    orders = sorted({p.order for p in among})
    order = orders[min(level, len(orders)) - 1] if orders else 0
    return tuple(p for p in among if p.order == order)


def on_topic(among: Sequence[Principle], prompt: Prompt) -> tuple[Principle, ...]:
    """The principles that have a tag of the prompt, or all where none has."""
    tagged = tuple(p for p in among if set(p.tags) & set(prompt.tags))
    return tagged or tuple(among)


def half_of_lowest_order(ranked: Sequence[Principle], count: int) -> tuple[Principle, ...]:
    """The first `count` of a ranking, at least half of them of the lowest order, as ranked.

    Where there are too few of the lowest order, all of them are taken.
    """
    lowest = of_order(ranked, 1)[: -(-count // 2)]
    others = [p for p in ranked if p not in lowest][: count - len(lowest)]
    return tuple(p for p in ranked if p in lowest or p in others)[:count]
