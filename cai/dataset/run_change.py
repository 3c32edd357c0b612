"""What differs between two runs."""

from __future__ import annotations

from pydantic import Field

from cai.constitution.change import ConstitutionChange
from cai.records import Record


class Presence(Record):
    both: int = 0
    only_before: int = 0
    only_after: int = 0


class RevisionCounts(Record):
    """Chains that are in both runs, and those of them that differ in this or that."""

    rows: int = 0
    other_principles: int = 0
    other_response: int = 0
    other_final: int = 0
    revision_to_unchanged: int = 0
    unchanged_to_revision: int = 0


class LabelCounts(Record):
    """The pairs of one source; up to `another_pair`, those whose texts are the same in both runs.

    A same pair that was a row of `preferences` and is none now is lost, the reverse gained. What is
    labelled in one run only is counted by the reason why it has no label in the other.
    """

    same_pair: int = 0
    changed: int = 0
    flips: int = 0
    mean_change: float | None = None
    rows_lost: int = 0
    rows_gained: int = 0
    another_pair: int = 0
    unlabelled: int = 0
    only_before: dict[str, int] = Field(default_factory=dict)
    only_after: dict[str, int] = Field(default_factory=dict)


class JudgementCounts(Record):
    """What one principle said of the same pairs; the figures are of those asked in both runs."""

    asked_in_both: int = 0
    mean_change: float | None = None
    flips: int = 0
    only_before: int = 0
    only_after: int = 0


class LabelChange(Record):
    """One pair whose label changed; p_a is the probability that response_a is better."""

    prompt_id: str
    source: str
    prompt: str
    response_a: str
    response_b: str
    p_a_before: float
    p_a_after: float
    flipped: bool
    principles_before: tuple[str, ...]
    principles_after: tuple[str, ...]


class RevisionChange(Record):
    """One prompt whose final text changed."""

    prompt_id: str
    prompt: str
    edit_distance: float
    same_response: bool
    final_before: str
    final_after: str
    principles_before: tuple[str, ...]
    principles_after: tuple[str, ...]


class RunDiff(Record):
    """What is different in run B; counts are of the prompts that have a trace in both.

    `also_changed` names what differs besides the constitution. `different` counts prompts with any
    difference, `reworded` those whose messages are not the same under one id.
    """

    constitution: ConstitutionChange
    also_changed: tuple[str, ...]
    prompts: Presence
    different: int
    reworded: int
    chains: Presence
    revisions: RevisionCounts
    revisions_by_principle: dict[str, RevisionCounts]
    labels: dict[str, LabelCounts]
    judgements: dict[str, JudgementCounts]
    largest_label_changes: tuple[LabelChange, ...]
    largest_revision_changes: tuple[RevisionChange, ...]

    @property
    def same_constitution(self) -> bool:
        return self.constitution == ConstitutionChange()

    @property
    def same_data(self) -> bool:
        """Whether both runs have the same prompts, each with the same revision and labels."""
        return not (self.prompts.only_before or self.prompts.only_after or self.different)
