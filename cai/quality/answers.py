"""What the answers of a dataset are like: counted row by row, with the rows that stand out."""

from __future__ import annotations

import math
from array import array
from collections import Counter
from collections.abc import Mapping
from typing import Any

from cai import statistics
from cai.cleaning import clean_revision
from cai.cleaning.leaks import trimmed
from cai.personal import personal_spans
from cai.quality import diversity
from cai.quality.gibberish import is_stuck
from cai.quality.labels import Preference, TraitReader, length_auc, likes
from cai.quality.phrases import Recurring, Sample, words
from cai.quality.records import NAMED, Figure, GateRow, geometric_mean, mean, share
from cai.quality.replies import ReplyClass, any_refusal, reply_class
from cai.quality.rows import Item
from cai.quality.style import apologises, closes, emojis, first_person, markdown, praises

_LOOKED_AT = 500  # answers of the sample of which languages and self-BLEU are told
_FEW = 200
_PLAIN_KINDS = ("helpful", "borderline")
_LEFTOVERS = {"leak", "reasoning", "preamble", "apology", "note"}  # of what cleaning takes off
# What may grow towards the end of a dataset, and its bit in a row's byte.
_DRIFTS = {"emoji": 1, "closer": 2, "repetition": 4}
Marks = dict[str, str]  # what is the matter with a row, and in words


def marks_of(item: Item, recurring: Recurring, reply: ReplyClass) -> Marks:
    """What stands out in a row, each with a note.

    Args:
        item: The row.
        recurring: The phrases of its dataset.
        reply: The class of its answer.
    """
    answer = item.answer
    phrase = recurring.held(answer)
    personal = {span.kind for text in (item.conversation, answer) for span in personal_spans(text)}
    left = set(clean_revision(answer, item.prompt).removed) & _LEFTOVERS
    found = {
        "boilerplate": phrase,
        "refusal": reply if any_refusal(reply) else None,
        "over_refusal": reply if any_refusal(reply) and item.kind in _PLAIN_KINDS else None,
        "incoherent": "no text, or stuck" if reply == "incoherent" else None,
        "repetition": "repeats itself" if is_stuck(answer) else None,
        "leftover": ", ".join(sorted(left)) if left else None,
        "control_token": trimmed(answer).leak,
        "personal_data": ", ".join(sorted(personal)) if personal else None,
        "violation": ", ".join(item.violations) or None,
        "sycophantic": "opens with praise" if praises(answer) else None,
        "apology": "opens with an apology" if apologises(answer) else None,
        "closer": "closes with an offer of more help" if closes(answer) else None,
        "emoji": f"{count} emojis" if (count := emojis(answer)) else None,
        "first_person": "speaks of itself" if first_person(answer) else None,
        "markdown": "lists, headings or bold type" if markdown(answer) else None,
    }
    return {name: note for name, note in found.items() if note}


class Answers:
    """The figures of the answers of one dataset, of one row after the other."""

    def __init__(self, sample: Sample, recurring: Recurring) -> None:
        self.recurring = recurring
        self._sample = sample
        self._rows = 0
        self._counts: Counter[str] = Counter()
        self._kinds: Counter[str] = Counter()
        self._splits: Counter[str] = Counter()
        self._replies: dict[str, Counter[ReplyClass]] = {}
        self._flags: dict[tuple[str, str], array[int]] = {}  # by kind and split
        self._lengths = array("d")
        self._ratios, self._differences = array("d"), array("d")
        self._traits, self._preference = TraitReader(), Preference()
        self._plain_preference = Preference()
        self.named: dict[str, list[GateRow]] = {}

    @property
    def rows(self) -> int:
        return self._rows

    @property
    def counts(self) -> Mapping[str, int]:
        """How many rows have which mark."""
        return self._counts

    def marks(self, item: Item) -> Marks:
        """What stands out in a row, each with a note."""
        return marks_of(item, self.recurring, reply_class(item.answer, item.prompt))

    def add(self, item: Item) -> None:
        """Count a row."""
        reply = reply_class(item.answer, item.prompt)
        marks = marks_of(item, self.recurring, reply)
        self._rows += 1
        self._kinds[item.kind] += 1
        self._splits[item.split] += 1
        self._replies.setdefault(item.kind, Counter())[reply] += 1
        flags = self._flags.setdefault((item.kind, item.split), array("B"))
        flags.append(sum(bit for name, bit in _DRIFTS.items() if name in marks))
        self._lengths.append(len(words(item.answer)))
        for name, note in marks.items():
            self._counts[name] += 1
            rows = self.named.setdefault(name, [])
            if len(rows) < NAMED:
                rows.append(gate_row(item, note))
        if item.rejected is not None:
            self._add_pair(item, item.rejected)

    def _add_pair(self, item: Item, rejected: str) -> None:
        self._differences.append(len(item.answer) - len(rejected))
        chosen, other = max(1, int(self._lengths[-1])), max(1, len(words(rejected)))
        self._ratios.append(math.log(chosen / other))
        traits = self._traits.of_pair(item.answer, rejected)
        self._preference.add(*traits)
        if item.kind in _PLAIN_KINDS:
            self._plain_preference.add(*traits)

    def figures(self) -> dict[str, Figure]:
        rows, counts = self._rows, self._counts
        plain = sum(self._kinds[kind] for kind in _PLAIN_KINDS)
        figures = {
            "boilerplate_share": share(counts["boilerplate"], rows),
            "refusal_share": share(counts["refusal"], rows),
            "over_refusal_share": share(counts["over_refusal"], plain),
            "incoherent_share": share(counts["incoherent"], rows),
            "repetition_share": share(counts["repetition"], rows),
            "leftover_share": share(counts["leftover"], rows),
            "control_token_share": share(counts["control_token"], rows),
            "personal_data_share": share(counts["personal_data"], rows),
            "sycophancy_share": share(counts["sycophantic"], rows),
            "apology_share": share(counts["apology"], rows),
            "closer_share": share(counts["closer"], rows),
            "emoji_share": share(counts["emoji"], rows),
            "first_person_share": share(counts["first_person"], rows),
            "markdown_share": share(counts["markdown"], rows),
            "helpful_share": share(plain, rows - self._kinds["unknown"]),
            "words": mean(self._lengths),
        }
        figures |= {f"{name}_drift": self._drift(bit) for name, bit in _DRIFTS.items()}
        return figures | self._diversity()

    def _drift(self, bit: int) -> Figure:
        """How much more of the last third of the rows has it than of those before.

        It is the last third of each kind in each split: where all helpful prompts or the test rows
        come last, they are no drift.
        """
        early, late = array("B"), array("B")
        for flags in self._flags.values():
            cut = 2 * len(flags) // 3
            early += flags[:cut]
            late += flags[cut:]
        if not early:
            return Figure()
        before, after = (sum(1 for flags in part if flags & bit) for part in (early, late))
        low, high = statistics.difference(after, len(late), before, len(early))
        value = after / len(late) - before / len(early)
        return Figure(value=value, low=low, high=high, n=self._rows)

    def _diversity(self) -> dict[str, Figure]:
        texts = [answers[0] for answers in self._sample.answers]
        n = len(texts)
        figures = {f"distinct_{k}": Figure(value=diversity.distinct(texts, k), n=n) for k in (1, 2)}
        figures["compression_ratio"] = Figure(value=diversity.compression_ratio(texts), n=n)
        figures["self_bleu"] = mean(diversity.self_bleu(texts[:_FEW]))
        return figures

    def pair_figures(self) -> dict[str, Figure]:
        """What tells the chosen text from the rejected one; empty where there are no pairs."""
        if not self._differences:
            return {}
        wins = {f"{name}_wins_share": f for name, f in self._preference.figures().items()}
        plain = self._plain_preference.figures()["refusal"]
        return {
            "length_auc": length_auc(self._differences),
            "length_ratio_chosen": geometric_mean(self._ratios),
            **wins,
            "over_refusal_wins_share": plain,
        }

    @property
    def chosen_texts(self) -> list[str]:
        """What the chosen texts have in common, in words."""
        return likes(self._preference.figures())

    def details(self) -> dict[str, Any]:
        texts = [answers[0] for answers in self._sample.answers[:_LOOKED_AT]]
        return {
            "boilerplate_phrases": [
                {"phrase": phrase.text, "prompts": phrase.prompts}
                for phrase in self.recurring.phrases[:50]
            ],
            "replies_by_kind": {
                kind: dict(own.most_common()) for kind, own in sorted(self._replies.items())
            },
            "refusal_by_kind": {
                kind: _refusals(own).model_dump() for kind, own in sorted(self._replies.items())
            },
            "kinds": dict(self._kinds.most_common()),
            "splits": dict(self._splits),
            "languages": diversity.languages(texts),
            "marks": dict(self._counts.most_common()),
        }


def _refusals(replies: Mapping[ReplyClass, int]) -> Figure:
    return share(sum(n for c, n in replies.items() if any_refusal(c)), sum(replies.values()))


def gate_row(item: Item, note: str = "") -> GateRow:
    """A row as a gate names it."""
    return GateRow(
        id=item.id,
        prompt_id=item.prompt_id,
        dataset=item.dataset,
        split=item.split,
        note=note,
    )
