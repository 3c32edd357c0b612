"""What was measured of a dataset, and the gates that it passes or not."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

from cai import statistics
from cai.errors import CaiError
from cai.files import replacing
from cai.records import Record

QUALITY = "quality.json"
NAMED = 1000  # rows that a gate names
FEW = 30  # rows; where none of so many has a fault, one in nine of their like may have it


class Figure(Record):
    """A number with its 95 % interval over `n` items; all null where there is nothing to measure.

    Shares are in [0, 1] with Wilson's interval; what else a figure is, its measure says.
    """

    value: float | None = None
    low: float | None = None
    high: float | None = None
    n: int = 0


def share(count: float, n: int) -> Figure:
    """The share of `count` items among `n`."""
    if n == 0:
        return Figure()
    low, high = statistics.wilson(count, n)
    return Figure(value=count / n, low=low, high=high, n=n)


def mean(values: Sequence[float]) -> Figure:
    """The mean of values, with the interval of the normal approximation (1.96 standard errors)."""
    n = len(values)
    if n == 0:
        return Figure()
    centre = math.fsum(values) / n
    spread = math.fsum((v - centre) ** 2 for v in values) / (n - 1) if n > 1 else 0.0
    half = statistics.Z_95 * math.sqrt(spread / n)
    return Figure(value=centre, low=centre - half, high=centre + half, n=n)


def geometric_mean(logarithms: Sequence[float]) -> Figure:
    """The geometric mean of ratios, of their natural logarithms, with the interval of `mean`."""
    figure = mean(logarithms)
    if figure.value is None or figure.low is None or figure.high is None:
        return figure
    value, low, high = (math.exp(x) for x in (figure.value, figure.low, figure.high))
    return Figure(value=value, low=low, high=high, n=figure.n)


class GateRow(Record):
    """A row that a gate names: where it stands, and what is the matter with it, in words."""

    id: str
    prompt_id: str
    dataset: str
    split: str
    note: str = ""


class Gate(Record):
    """A threshold that a figure keeps or not.

    `count` rows are concerned; `rows` are the first thousand of them. A gate whose figure has no
    value passes: nothing was there to measure.
    """

    name: str
    measure: str
    value: float | None
    limit: float
    passed: bool
    words: str
    advice: str
    rows: tuple[GateRow, ...] = ()
    count: int = 0


class Quality(Record):
    """All figures of a dataset by name, what stands behind them, and the gates."""

    version: Literal[1] = 1
    data: str
    rows: dict[str, int]
    figures: dict[str, Figure]
    details: dict[str, Any]
    gates: tuple[Gate, ...]

    @property
    def failed(self) -> tuple[Gate, ...]:
        return tuple(gate for gate in self.gates if not gate.passed)

    @property
    def passed(self) -> tuple[Gate, ...]:
        """Gates that pass, and not because there was nothing to measure."""
        return tuple(gate for gate in self.gates if gate.passed and gate.value is not None)

    @property
    def is_small(self) -> bool:
        """Whether the rows are too few to be called good: only what is very bad fails a gate."""
        return max(self.rows.values(), default=0) < FEW

    @property
    def unmeasured(self) -> tuple[Gate, ...]:
        """Gates that pass because there was nothing to measure."""
        return tuple(gate for gate in self.gates if gate.value is None)

    def plus(self, details: Mapping[str, Any]) -> Quality:
        """With more of what stands behind the figures."""
        return self.model_copy(update={"details": {**self.details, **details}})

    @classmethod
    def from_data(cls, data: Mapping[str, Any]) -> Quality:
        """As `as_data` writes it.

        Raises:
            ValueError: It is no such object.
        """
        own = {key: data[key] for key in ("version", "data", "rows", "gates")}
        rest = {key: value for key, value in data.items() if key not in own}
        is_figure = {key: _is_figure(value) for key, value in rest.items()}
        figures = {key: value for key, value in rest.items() if is_figure[key]}
        details = {key: value for key, value in rest.items() if not is_figure[key]}
        return cls.model_validate({**own, "figures": figures, "details": details})

    def as_data(self) -> dict[str, Any]:
        """One flat object, as `quality.json` holds it."""
        data = self.model_dump(mode="json")
        return {
            "version": data["version"],
            "data": data["data"],
            "rows": data["rows"],
            **data["figures"],
            **data["details"],
            "gates": data["gates"],
        }


def _is_figure(value: Any) -> bool:
    return isinstance(value, dict) and value.keys() == Figure.model_fields.keys()


def write_quality(quality: Quality, path: Path) -> None:
    """Write all figures and gates as one JSON object."""
    with replacing(path) as file:
        file.write(json.dumps(quality.as_data(), indent=2, ensure_ascii=False) + "\n")


def read_quality(path: Path) -> Quality:
    """The figures and gates of a file.

    Raises:
        CaiError: It is not there, or damaged.
    """
    try:
        data = json.loads(path.read_bytes())
        return Quality.from_data(data)
    except OSError as error:
        hint = "Measure it first: cai quality RUN"
        raise CaiError(f"{path}: {error.strerror or error}", hint) from None
    except (ValueError, KeyError, TypeError) as error:
        raise CaiError(f"{path}: damaged: {error}", "Measure it again: cai quality RUN") from None
