"""The labels that a model picks from: single tokens of its own after an answer prefix."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple, Protocol

from cai.engines.base import Engine
from cai.errors import CaiError


class Options(Protocol):
    """Single tokens that a model picks from, and the words of the answer that stand before them."""

    @property
    def names(self) -> tuple[str, ...]: ...
    @property
    def answer_prefix(self) -> str: ...


class Scale(NamedTuple):
    """Any number of labels."""

    names: tuple[str, ...]
    answer_prefix: str


class Labels(NamedTuple):
    """Two labels and the words of the answer that stand before them."""

    first: str
    second: str
    answer_prefix: str

    @property
    def names(self) -> tuple[str, str]:
        return self.first, self.second


_PREFIXES = ("The right option is (", "The right option is: ")
_NAMES = (("A", "B"), ("1", "2"), ("X", "Y"), ("a", "b"))
CANDIDATES = tuple(Labels(*names, prefix) for prefix in _PREFIXES for names in _NAMES)
DEFAULT = CANDIDATES[0]


def pick(engine: Engine) -> Labels:
    """The first labels that serve a started engine.

    Raises:
        CaiError: None does.
    """
    problem: CaiError | None = None
    for labels in CANDIDATES:
        try:
            engine.check_labels(labels.names, labels.answer_prefix)
        except CaiError as error:
            problem = problem or error
        else:
            return labels
    raise CaiError(
        f"no pair of labels serves this model: {problem.message if problem else ''}",
        "Choose another model as critic and judge, or --set verdict=false and --stages sft.",
    )


def from_meta(stored: Mapping[str, Sequence[str]] | None) -> dict[str, Labels]:
    """Labels by engine identity, as a journal keeps them."""
    return {identity: Labels(*parts) for identity, parts in (stored or {}).items()}
