"""The scorecard of a model: its measures, its gates, and all that one has to know of them."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

from pydantic import TypeAdapter, ValidationError

from cai.checks.results import JudgeVerdict
from cai.errors import CaiError
from cai.evaluate.gates import GateResult
from cai.evaluate.records import Measure
from cai.files import replacing
from cai.records import Record

SCORECARD, EVALUATION = "scorecard.json", "evaluation.json"
_MEASURES = TypeAdapter(dict[str, Measure])


class Side(Record):
    """Whose answers: a model by name and identity, or a recording by its digest."""

    name: str
    identity: str


class JudgeFacts(Record):
    """Who judged, and what checks of it say on this machine; None where there was none."""

    name: str
    identity: str
    assessments: JudgeVerdict | None = None
    assessments_words: str | None = None
    comparisons: JudgeVerdict | None = None
    comparisons_words: str | None = None


class SuiteFacts(Record):
    name: str
    digest: str
    prompts: int
    left_out: int


class Evaluation(Record):
    """What was evaluated, and how: `evaluation.json`. The measures stand in `scorecard.json`."""

    version: Literal[1] = 1
    model: Side
    baseline: Side | None
    judge: JudgeFacts | None
    constitution: dict[str, str]
    suites: tuple[SuiteFacts, ...]
    recorded: bool
    samples: int
    temperature: float | None
    max_tokens: int | None
    system: str | None
    seed: int
    cai: str
    gates: tuple[GateResult, ...]
    told: tuple[str, ...] = ()

    def failed(self, *, strict: bool = False) -> list[GateResult]:
        """The gates that fail; with `strict` also those that are undecided."""
        bad = ("failed", "undecided") if strict else ("failed",)
        return [gate for gate in self.gates if gate.verdict in bad]


class Card(Record):
    """An evaluation and its measures by name."""

    evaluation: Evaluation
    measures: dict[str, Measure]

    def write(self, folder: Path) -> None:
        """Write both files, each in one piece: what is loaded first comes last."""
        measures = {name: m.model_dump(mode="json") for name, m in self.measures.items()}
        _write(folder / SCORECARD, measures)
        _write(folder / EVALUATION, self.evaluation.model_dump(mode="json"))

    def write_beside(self, model: Path) -> None:
        """Write all of it into the folder of the model, for its card and its audit."""
        _write(model / EVALUATION, self.model_dump(mode="json"))

    @classmethod
    def load(cls, folder: Path) -> Card:
        """The card of a folder.

        Raises:
            CaiError: There is none, or it is damaged.
        """
        try:
            return cls(
                evaluation=Evaluation.model_validate_json((folder / EVALUATION).read_bytes()),
                measures=_MEASURES.validate_json((folder / SCORECARD).read_bytes()),
            )
        except FileNotFoundError as error:
            hint = "Run cai evaluate to its end."
            raise CaiError(f"{error.filename}: no evaluation stands here", hint) from None
        except (OSError, ValidationError) as error:
            first = str(error).splitlines()[0]
            raise CaiError(f"{folder}: {first}", "Run cai evaluate again.") from None


def take_away(folder: Path) -> None:
    """Take the card of before away, so that none stands beside files of another evaluation."""
    (folder / EVALUATION).unlink(missing_ok=True)


def _write(path: Path, data: Mapping[str, Any]) -> None:
    with replacing(path) as file:
        file.write(json.dumps(data, indent=2, ensure_ascii=False) + "\n")


def cautions(card: Card) -> Iterator[str]:
    """What a reader has to know before the figures are believed."""
    facts = card.evaluation
    if facts.judge is None and any(m.unscored and m.note for m in card.measures.values()):
        yield "No judge was named, so what only a judge can say is unscored: --judge NAME"
    if facts.judge is not None:
        for what, verdict, check in (
            ("assessments", facts.judge.assessments, "critic --critic NAME"),
            ("comparisons", facts.judge.comparisons, "judge --judge NAME"),
        ):
            if verdict is None:
                command = f"cai check {check} with this judge"
                yield f"The judge's {what} were not checked; they may mean nothing ({command})"
            elif verdict != "usable":
                yield f"The judge's {what} are {verdict} by its check: do not rely on its figures"
    if facts.baseline is not None and facts.baseline.identity == facts.model.identity:
        yield "Model and baseline are the same: every difference is chance"
    yield from facts.told


def names_by_subject(measures: Sequence[str]) -> dict[str, list[str]]:
    """Names of measures under what they are about, in the order in which a card shows them."""
    subjects = {
        "harm": ("attack_success", "strongreject", "harmless", "compliance_unsafe"),
        "over-refusal": ("over_refusal", "twin_gap", "refusal_helpful"),
        "helpfulness": ("helpfulness", "instruction", "own_rules", "choice", "held_out"),
        "incoherence": ("incoherence", "to_judge", "constant"),
        "adherence": ("adherence.",),
    }
    return {
        subject: found
        for subject, starts in subjects.items()
        if (found := [name for name in measures if name.startswith(starts)])
    }
