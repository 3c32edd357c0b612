"""The records that flow through a run: frozen, state in fields, everything derivable a property.

It is the vocabulary: every record that more than one room speaks of.
"""

from cai.records.base import Record, canonical_json, digest, encodable
from cai.records.chain import Assessment, Cleaned, Finding, RevisionChain, RevisionStep, Verdict
from cai.records.completion import (
    ChoiceMethod,
    ChoiceScores,
    Completion,
    FinishReason,
    Leak,
    Likelihood,
    Sampling,
    Usage,
)
from cai.records.preference import Comparison, Judgement, Pair, PairSource, PreferenceLabel, mean_p
from cai.records.prompt import KINDS, Kind, Message, Prompt, Role, assistant, messages_as_data, user
from cai.records.row import CriticFacts, Failure, JudgeFacts, Row, Stage

__all__ = [
    "KINDS",
    "Assessment",
    "ChoiceMethod",
    "ChoiceScores",
    "Cleaned",
    "Comparison",
    "Completion",
    "CriticFacts",
    "Failure",
    "Finding",
    "FinishReason",
    "JudgeFacts",
    "Judgement",
    "Kind",
    "Leak",
    "Likelihood",
    "Message",
    "Pair",
    "PairSource",
    "PreferenceLabel",
    "Prompt",
    "Record",
    "RevisionChain",
    "RevisionStep",
    "Role",
    "Row",
    "Sampling",
    "Stage",
    "Usage",
    "Verdict",
    "assistant",
    "canonical_json",
    "digest",
    "encodable",
    "mean_p",
    "messages_as_data",
    "user",
]
