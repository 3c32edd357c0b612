"""What the pictures of a run show: its rows, counted one after the other."""

from __future__ import annotations

import math
from collections import Counter, defaultdict
from collections.abc import Iterable
from dataclasses import dataclass, field
from itertools import combinations
from typing import Any

from cai.calibration import tempered
from cai.cleaning.units import pieces
from cai.report.facts import chain_failed, change, judged, main_failure, verdict, why_not
from cai.report.rows import Item

BINS = 20  # of a histogram
_TIE = 1e-9
_GROWTH = 1.12  # from one length to the next that is told apart


@dataclass
class Lengths:
    """Lengths of texts, counted in steps of 12 %, so that memory stays flat."""

    counts: Counter[int] = field(default_factory=Counter)
    n: int = 0
    total: int = 0

    def add(self, text: str) -> None:
        length = len(pieces(text))
        self.counts[round(math.log(max(length, 1), _GROWTH))] += 1
        self.n += 1
        self.total += length

    def quantile(self, share: float) -> float:
        """The length below which a share of the texts lies, within 6 %."""
        seen, wanted = 0, share * self.n
        for step in sorted(self.counts):
            seen += self.counts[step]
            if seen >= wanted:
                return _GROWTH**step
        return 0.0


@dataclass
class ByPrinciple:
    """What one principle did: in rounds, in assessments, in labels."""

    drawn: int = 0
    asked: int = 0  # whether a change is needed, or a rule was found broken
    asked_for_change: int = 0
    revised: int = 0
    assessed: int = 0
    broken: int = 0
    judged: int = 0
    p: float = 0.0  # the sum of the probabilities of the preferred answer
    gap: float = 0.0  # the sum of how far its two orders are apart
    told: int = 0  # pairs in which it and the label each prefer a text
    agreed: int = 0  # with the label


@dataclass
class Tally:
    """The counts of a run's rows. `temperature` is that of its labels."""

    sft: bool
    temperature: float = 1.0
    flow: Counter[tuple[str, str, str]] = field(default_factory=Counter)  # kind, change, fate
    pairs: Counter[tuple[str, str]] = field(default_factory=Counter)  # source, fate
    kept: Counter[int] = field(default_factory=Counter)  # labels by probability, in bins
    left_out: Counter[int] = field(default_factory=Counter)
    gaps: Counter[int] = field(default_factory=Counter)
    lengths: defaultdict[str, Lengths] = field(default_factory=lambda: defaultdict(Lengths))
    principles: defaultdict[str, ByPrinciple] = field(
        default_factory=lambda: defaultdict(ByPrinciple)
    )
    agreement: Counter[tuple[str, str]] = field(default_factory=Counter)
    together: Counter[tuple[str, str]] = field(default_factory=Counter)
    failures: Counter[tuple[str, str, str]] = field(default_factory=Counter)  # stage, error, of
    verdicts: Counter[str] = field(default_factory=Counter)
    edits: list[float] = field(default_factory=lambda: [0.0, 0.0])  # the sum, and of how many
    rows: int = 0

    def add(self, item: Item) -> None:
        self.rows += 1
        trace = item.trace
        self.flow[trace.get("prompt_kind") or "not known", *self._fate(item)] += 1
        for failure in item.failures:
            of = f"{failure['pair']} pair" if failure.get("pair") else "prompt"
            self.failures[str(failure.get("stage")), str(failure.get("error")), of] += 1
        if item.failed:
            return
        self._chain(trace)
        for pair in trace.get("pairs") or ():
            self._pair(pair)
        for assessed in trace.get("assessments") or ():
            principle = self.principles[assessed["principle_id"]]
            principle.assessed += 1
        for name in trace.get("violations") or ():
            self.principles[name].broken += 1

    def _fate(self, item: Item) -> tuple[str, str]:
        if chain_failed(item):
            return "failed", f"failed: {main_failure(item)['error']}"
        trace = item.trace
        done = change(trace)
        if done == "no chain" or not self.sft:
            return done, "not asked for" if not self.sft else "no chain"
        return done, why_not(trace) or "in sft"

    def _chain(self, trace: dict[str, Any]) -> None:
        if trace.get("response") is None:
            return
        self.lengths["first answer"].add(trace["response"])
        self.lengths["final text"].add(trace["final"] or "")
        if trace.get("target") == "revision":
            self.edits[0] += trace["edit_distance"] or 0.0
            self.edits[1] += 1
        for step in trace.get("steps") or ():
            said = verdict(step)
            self.verdicts[said] += 1
            broken = [f["principle_id"] for f in step.get("findings") or ()]
            for name in dict.fromkeys(broken or [step["principle_id"]]):
                principle = self.principles[name]
                principle.drawn += 1
                principle.asked += bool(broken) or said != "no verdict asked"
                principle.asked_for_change += bool(broken) or said == "change needed"
                principle.revised += step["revision"] is not None

    def _pair(self, pair: dict[str, Any]) -> None:
        p_a = pair["p_a"]
        self.pairs[pair["source"], pair["dropped"] or ("failed" if p_a is None else "kept")] += 1
        if p_a is None:
            return
        p = tempered(max(p_a, 1 - p_a), self.temperature)
        (self.left_out if pair["dropped"] else self.kept)[_bin(2 * (p - 0.5))] += 1
        self.gaps[_bin(pair["order_gap"] or 0.0)] += 1
        if not pair["dropped"]:
            texts = pair["response_a"], pair["response_b"]
            self.lengths["chosen"].add(texts[p_a < 0.5])
            self.lengths["rejected"].add(texts[p_a >= 0.5])
        self._judgements(pair, p_a)

    def _judgements(self, pair: dict[str, Any], p_a: float) -> None:
        asked = judged(pair)
        for name, p, gap in asked:
            principle = self.principles[name]
            principle.judged += 1
            principle.p += p if p_a >= 0.5 else 1 - p
            principle.gap += gap
            if _prefers(p) and _prefers(p_a):
                principle.told += 1
                principle.agreed += _agree(p, p_a)
        votes = sorted((name, p) for name, p, _ in asked if _prefers(p))
        for (one, p), (other, q) in combinations(votes, 2):
            self.together[one, other] += 1
            self.agreement[one, other] += _agree(p, q)

    @property
    def prompts(self) -> int:
        return self.flow.total()

    def fate(self, name: str) -> int:
        return sum(n for (_, _, fate), n in self.flow.items() if fate == name)

    @property
    def failed(self) -> int:
        return sum(n for (_, done, _), n in self.flow.items() if done == "failed")

    def pairs_that_are(self, fate: str) -> int:
        return sum(n for (_, kind), n in self.pairs.items() if kind == fate)


def _bin(value: float) -> int:
    return min(int(value * BINS), BINS - 1)


def _prefers(p: float) -> bool:
    """Whether a probability is none of a tie: a judge that goes by place alone prefers no text."""
    return abs(p - 0.5) > _TIE


def _agree(p: float, q: float) -> bool:
    return (p - 0.5) * (q - 0.5) > 0


def counted(items: Iterable[Item], tally: Tally) -> Iterable[Item]:
    """The items, each counted on its way."""
    for item in items:
        tally.add(item)
        yield item
