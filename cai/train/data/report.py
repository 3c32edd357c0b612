"""What was read, what was left out and why, and figures of what is trained on."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence
from typing import Literal

from cai.records import Record
from cai.sources.bad_rows import Fault
from cai.train.data.examples import Example

# "degenerate" stands in records of before: now each row's own fault is told.
Reason = Literal[
    Fault, "degenerate", "duplicate", "leak", "pair source", "margin", "template", "too long"
]
SATURATED = 0.99  # a label above it is a hard one, whatever the loss


class TokenStatistics(Record):
    """Tokens per row as trained: the prompt with its answer, of a pair with the longer one."""

    mean: float
    p95: int
    max: int


class LabelStatistics(Record):
    """`chosen_probability` over the rows: the mean, and the share above 0.99.

    `soft` of the rows are learnt by it and the others as hard, if the loss is `auto`.
    """

    mean: float
    saturated: float
    soft: int | None = None


class Counts(Record):
    """What became of the rows of one source: read = kept + dropped + unused.

    `cut` are among `kept`. Of a mix, `asked` is how many rows its weight wants; rows that were not
    needed for them are `unused`.
    """

    origin: str
    read: int
    dropped: dict[Reason, int]
    cut: int = 0
    kept: int
    asked: int | None = None
    unused: int = 0

    def line(self) -> str:
        """The counts on one line, for people."""
        parts = [f"{n} {reason}" for reason, n in self.dropped.items()]
        parts += [f"{self.unused} not needed"] if self.unused else []
        left_out = f"; left out: {', '.join(parts)}" if parts else ""
        cut = f" ({self.cut} cut)" if self.cut else ""
        return f"{self.origin}: {self.kept} of {self.read} rows{cut}{left_out}"


class DataReport(Record):
    """What the data was made of, so that every row is accounted for and a change is noticed.

    `sources` are the train split's, the main data first; `files` maps each source file to its
    SHA-256, or a dataset of the Hub to that of the rows that were read; `rows_digest` is over both
    splits as they are trained on.
    """

    sources: tuple[Counts, ...]
    test: Counts | None
    tokens: TokenStatistics
    labels: LabelStatistics | None
    files: dict[str, str]
    rows_digest: str
    warnings: tuple[str, ...] = ()

    @property
    def read(self) -> int:
        return sum(source.read for source in self.sources)

    @property
    def kept(self) -> int:
        return sum(source.kept for source in self.sources)

    @property
    def cut(self) -> int:
        return sum(source.cut for source in self.sources)

    @property
    def dropped(self) -> dict[Reason, int]:
        total: Counter[Reason] = Counter()
        for source in self.sources:
            total.update(source.dropped)
        return dict(total)

    def lines(self) -> list[str]:
        """The report for people, warnings aside."""
        lines = [f"train: {source.line()}" for source in self.sources]
        lines += [f"test: {self.test.line()}"] if self.test else []
        t = self.tokens
        lines.append(f"tokens per row: mean {t.mean:.0f}, 95 % up to {t.p95}, longest {t.max}")
        if self.labels:
            share = f"{self.labels.saturated:.0%} above {SATURATED}"
            lines.append(f"chosen_probability: mean {self.labels.mean:.3f}, {share}")
            if self.labels.soft is not None:
                hard = self.kept - self.labels.soft
                lines.append(f"loss auto: {self.labels.soft} rows soft (calibrated), {hard} hard")
        return lines


def token_statistics(lengths: Sequence[int]) -> TokenStatistics:
    """Mean, 95th percentile (nearest rank) and maximum of at least one length."""
    ordered = sorted(lengths)
    rank = math.ceil(0.95 * len(ordered))
    mean = sum(ordered) / len(ordered)
    return TokenStatistics(mean=mean, p95=ordered[rank - 1], max=ordered[-1])


def label_statistics(rows: Sequence[Example], loss: str) -> LabelStatistics:
    """The mean of `chosen_probability` and its share above 0.99, over at least one row."""
    return LabelStatistics(
        mean=math.fsum(e.probability for e in rows) / len(rows),
        saturated=sum(e.probability > SATURATED for e in rows) / len(rows),
        soft=sum(e.calibrated for e in rows) if loss == "auto" else None,
    )
