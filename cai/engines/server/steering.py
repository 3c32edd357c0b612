"""How many calls a server usefully holds: as many as keep it busy with a short queue."""

from __future__ import annotations

import re
import time
from collections.abc import Sequence
from typing import NamedTuple

# Calls in flight per replica, where nothing else is known.
FEWEST_SLOTS, FIRST_SLOTS, MOST_SLOTS = 4, 64, 1024
_NAMES = {
    "running": r"vllm:num_requests_running|sglang:num_running_reqs|llamacpp:requests_processing",
    "waiting": r"vllm:num_requests_waiting|sglang:num_queue_reqs|llamacpp:requests_deferred",
}
_VALUE = r"(?:\{[^}]*\})? ([0-9]+(?:\.[0-9]*)?(?:e\+?[0-9]+)?)$"
_GAUGES = {name: re.compile(f"^(?:{o}){_VALUE}", re.MULTILINE) for name, o in _NAMES.items()}
_CACHE_HITS = re.compile(f"^vllm:(?:gpu_)?prefix_cache_hits_total{_VALUE}", re.MULTILINE)


class Load(NamedTuple):
    """What a server says of itself: requests that it runs, and those that wait for it."""

    running: float
    waiting: float


def load_of(metrics: str) -> Load | None:
    """The load in the metrics of vLLM, SGLang or llama.cpp; None where they do not tell it."""
    gauges = {name: gauge.findall(metrics) for name, gauge in _GAUGES.items()}
    if not all(gauges.values()):
        return None
    return Load(**{name: sum(map(float, values)) for name, values in gauges.items()})


def cache_hits_of(metrics: str) -> float | None:
    """Tokens that vLLM found in its prefix cache since it started."""
    hits = _CACHE_HITS.findall(metrics)
    return sum(map(float, hits)) if hits else None


class Steering:
    """The calls to have in flight at each replica."""

    def __init__(self, urls: Sequence[str]) -> None:
        self._slots = dict.fromkeys(urls, float(FIRST_SLOTS))
        self._best = (0.0, float(FIRST_SLOTS))
        self._looked = (0.0, 0)

    def slots(self, urls: Sequence[str]) -> int:
        return sum(int(self._slots[url]) for url in urls)

    def told(self, url: str, ours: int, load: Load) -> None:
        """Follow what a replica says while it has so many calls of ours."""
        self._slots[url] = steered(self._slots[url], ours, load)

    def climb(self, replicas: int, running: int, done: int) -> None:
        """Half as much again while that brings a twentieth more answers a second, else back.

        Latency is calls in flight over that rate. Where it has doubled since, a third fewer, and
        the climb begins anew: more come back at once if only the calls have become longer.

        Args:
            replicas: How many are there.
            running: Calls in flight at them.
            done: Calls that they have answered.
        """
        now = time.monotonic()
        since, before = self._looked
        slots = next(iter(self._slots.values()))
        if since and done - before < 2 * slots * replicas:
            return  # too few for a rate that means something
        self._looked = (now, done)
        if not since or running < 0.9 * slots * replicas:
            return
        rate = (done - before) / (now - since)
        best, at = self._best
        if rate > 1.05 * best:
            self._best, slots = (rate, slots), min(MOST_SLOTS, slots * 1.5)
        elif slots <= at and rate < best / 2:
            slots = max(FEWEST_SLOTS, slots * 2 / 3)
            self._best = (0.0, slots)
        else:
            slots = at
        self._slots = dict.fromkeys(self._slots, slots)


def steered(slots: float, ours: int, load: Load) -> float:
    """Calls to have in flight: a queue of an eighth of what runs is enough, a full house grows."""
    queue = max(2.0, load.running / 8)
    if load.waiting > queue:
        return max(FEWEST_SLOTS, ours - load.waiting + queue)
    if ours >= slots - 1:
        return min(float(MOST_SLOTS), slots * 1.25 + 4)
    return slots
