"""The thresholds of the gates, each with where it comes from."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, ValidationError

from cai.settings import merged, parse_pair, read_config, refused, setting


def _at_most(default: float, what: str) -> Any:
    return setting(default, f"most {what}", "Gates", ge=0, le=1)


def _at_least(default: float, what: str) -> Any:
    return setting(default, f"least {what}", "Gates", ge=0, le=1)


class Thresholds(BaseModel):
    """What a dataset has to keep to be called fit to train on."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    # Counted on the samples that Bai et al. 2022 released: 0 % for SL-CAI, 17 % for HH-RLHF, 82 %
    # for RL-CAI without chain of thought, which the paper calls over-trained.
    max_boilerplate: float = _at_most(0.2, "share of answers that hold a phrase of many answers")
    # On XSTest's safe prompts Llama 2 declined 59.6 % in full or part, Mistral-7B 1.6 %.
    max_over_refusal: float = _at_most(
        0.1, "share of answers to helpful and borderline prompts that decline"
    )
    max_incoherent: float = _at_most(0.02, "share of answers that are no text")
    max_repetition: float = _at_most(0.02, "share of answers that are stuck in a loop")
    max_near_duplicates: float = _at_most(
        0.05, "share of answers with an earlier near-duplicate (Jaccard 0.7)"
    )
    max_leak: float = _at_most(0.0, "share of test rows with a near-duplicate among the train rows")
    max_leftovers: float = _at_most(
        0.01, "share of answers that speak of their own revision or begin with an announcement"
    )
    max_control_tokens: float = _at_most(0.0, "share of answers that hold tokens of a template")
    max_personal_data: float = _at_most(
        0.0, "share of rows with an e-mail address, a phone number, a card, an IBAN or a key"
    )
    max_sycophancy: float = _at_most(0.15, "share of answers that open with praise")
    max_closers: float = _at_most(0.3, "share of answers that close with an offer of more help")
    # In Constitution or Collapse (arXiv 2504.04918) emojis and closers were already in the
    # revisions from which the model collapsed.
    max_drift: float = _at_most(
        0.1, "rise of emojis, closers or loops from the first two thirds of the rows to the last"
    )
    max_length_auc: float = setting(
        0.75,
        "most that length alone may tell of a label (area under the ROC curve, or 1 minus it)",
        "Gates",
        ge=0.5,
        le=1,
    )
    max_trait_wins: float = setting(
        0.75,
        "most often that an apology, the first person, markdown or (on helpful and borderline "
        "prompts) a refusal wins, where just one of two texts has it",
        "Gates",
        ge=0.5,
        le=1,
    )
    max_churn: float = _at_most(0.5, "share of edits after a verdict that nothing was wrong")
    max_violations: float = _at_most(0.1, "share of assessed final texts that break a principle")
    min_consistency: float = _at_least(0.5, "share of labels that agree in both orders")
    # Helpful data in the mix keeps a model helpful (Bianchi et al. 2023, arXiv 2309.07875).
    min_helpful: float = _at_least(0.1, "share of rows whose prompt is helpful or borderline")


def thresholds(
    given: Mapping[str, Any], file: Path | None = None, pairs: tuple[str, ...] = ()
) -> Thresholds:
    """The thresholds: defaults < file < `key=value` pairs < `given`.

    Raises:
        CaiError: An unknown one, or a value of the wrong kind; says where it stands.
    """
    layers = [(read_config(file), str(file))] if file else []
    options = [parse_pair(Thresholds, pair) for pair in pairs]
    values, places = merged(Thresholds, [*layers, *options, (given, "")])
    try:
        return Thresholds.model_validate(values)
    except ValidationError as error:
        raise refused(Thresholds, error.errors()[0], places) from None
