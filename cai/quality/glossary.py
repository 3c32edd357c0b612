"""What each figure is, in a line, and what is usual where somebody has counted it."""

from __future__ import annotations

from typing import NamedTuple

from cai.quality.gates import OF_CHOSEN
from cai.quality.records import Figure


class Meaning(NamedTuple):
    """A figure in words.

    Attributes:
        title: Its name for a reader.
        words: What it is.
        group: Under what it is shown.
        percent: Whether it is a share.
        usual: What is usual, with its source.
    """

    title: str
    words: str
    group: str
    percent: bool = True
    usual: str = ""


_TEXT, _REPLIES, _FORM = "Is it text?", "Does it answer?", "What it sounds like"
_ROWS, _CHAINS, _LABELS = "Is a row new?", "What revision did", "What the labels follow"

MEANINGS: dict[str, Meaning] = {
    "refusal_share": Meaning("Declines", "answers that decline in full or in part", _REPLIES),
    "over_refusal_share": Meaning(
        "Declines what is harmless",
        "answers to helpful and borderline prompts that decline in full or in part",
        _REPLIES,
        usual="on XSTest's safe prompts: Llama 2 59.6 %, Mistral-7B 1.6 %",
    ),
    "helpful_share": Meaning(
        "Helpful prompts",
        "rows whose prompt is helpful or borderline, where kinds are known",
        _ROWS,
    ),
    "incoherent_share": Meaning("No text", "answers that are empty, babble or a loop", _TEXT),
    "repetition_share": Meaning("Loops", "answers that are stuck in a loop", _TEXT),
    "leftover_share": Meaning(
        "Leftovers",
        "answers that begin with an announcement or speak of their own revision",
        _TEXT,
    ),
    "control_token_share": Meaning(
        "Control tokens", "answers that hold tokens or turns of a chat template", _TEXT
    ),
    "personal_data_share": Meaning(
        "Personal data", "rows with an address, a number or a key of somebody", _TEXT
    ),
    "boilerplate_share": Meaning(
        "Boilerplate",
        "answers with a run of five words that recurs in the answers to 15 % of the prompts",
        _FORM,
        usual="Bai et al.'s samples: SL-CAI 0 %, HH-RLHF 17 %, RL-CAI 82 %",
    ),
    "sycophancy_share": Meaning("Praise", "answers that open with praise", _FORM),
    "apology_share": Meaning("Apologies", "answers that open with an apology", _FORM),
    "closer_share": Meaning("Closers", "answers that close with an offer of more help", _FORM),
    "emoji_share": Meaning("Emojis", "answers with an emoji", _FORM),
    "first_person_share": Meaning("First person", "answers that speak of themselves", _FORM),
    "markdown_share": Meaning("Markdown", "answers with lists, headings or bold type", _FORM),
    "emoji_drift": Meaning(
        "Emojis, towards the end",
        "their share in the last third of each kind and split minus that before",
        _FORM,
    ),
    "closer_drift": Meaning(
        "Closers, towards the end",
        "their share in the last third of each kind and split minus that before",
        _FORM,
    ),
    "repetition_drift": Meaning(
        "Loops, towards the end",
        "their share in the last third of each kind and split minus that before",
        _FORM,
    ),
    "words": Meaning("Length", "words of an answer (characters, where unspaced)", _FORM, False),
    "distinct_1": Meaning("Distinct words", "different words over all of them", _FORM, False),
    "distinct_2": Meaning("Distinct pairs", "different pairs of words over all", _FORM, False),
    "compression_ratio": Meaning(
        "Compression", "bytes before over bytes after; more is more alike", _FORM, False
    ),
    "self_bleu": Meaning(
        "Self-BLEU", "how much of an answer the others say too, 0 to 1", _FORM, False
    ),
    "near_duplicate_share": Meaning(
        "Near-duplicates", "answers that nearly repeat an earlier one (Jaccard 0.7)", _ROWS
    ),
    "prompt_duplicate_share": Meaning(
        "Prompts, again", "prompts that nearly repeat an earlier one (Jaccard 0.7)", _ROWS
    ),
    "leak_share": Meaning("Leak", "test rows with a near-duplicate among the train rows", _ROWS),
    "contaminated_share": Meaning("Contamination", "rows that stand in an evaluation set", _ROWS),
    "changed_share": Meaning("Changed", "chains whose last text is not the first", _CHAINS),
    "churn_share": Meaning(
        "Churn", "edits after a verdict that nothing was wrong, of all after a verdict", _CHAINS
    ),
    "unsure_verdict_share": Meaning(
        "Unsure verdicts", "verdicts that changed with the order of the options", _CHAINS
    ),
    "edit_distance": Meaning(
        "Edit distance", "how far the last text is from the first, 0 to 1", _CHAINS, False
    ),
    "length_ratio_revision": Meaning(
        "Length, revised", "words after over words before, of changed texts", _CHAINS, False
    ),
    "violation_share": Meaning(
        "Violations", "final texts among the rows that were found to break a principle", _CHAINS
    ),
    "response_self_bleu": Meaning(
        "Self-BLEU before", "likeness of the first answers that were changed", _CHAINS, False
    ),
    "revision_self_bleu": Meaning(
        "Self-BLEU after", "likeness of what they became", _CHAINS, False
    ),
    "consistent_share": Meaning(
        "Consistent", "labels that prefer the same text in both orders", _LABELS
    ),
    "order_gap": Meaning("Order gap", "how far apart the two orders are, 0 to 1", _LABELS, False),
    "label_mass": Meaning(
        "Label mass", "probability that fell on the labels, 0 to 1", _LABELS, False
    ),
    "length_auc": Meaning(
        "Length alone",
        "how well length tells the chosen text: 50 % not at all, 100 % the longer always wins",
        _LABELS,
        usual="on hh-rlhf's harmless test pairs the shorter one is right in 55 %",
    ),
    "longer_wins_share": Meaning("Longer wins", "pairs in which the longer text wins", _LABELS),
    "length_ratio_chosen": Meaning(
        "Length, chosen", "words of the chosen over those of the rejected", _LABELS, False
    ),
    "refusal_wins_share": Meaning(
        "Refusal wins", "pairs with one refusal in which it wins", _LABELS
    ),
    "over_refusal_wins_share": Meaning(
        "Refusal wins, harmless", "the same, on helpful and borderline prompts", _LABELS
    ),
    "apology_wins_share": Meaning(
        "Apology wins", "pairs with one apology in which it wins", _LABELS
    ),
    "first_person_wins_share": Meaning(
        "First person wins", "pairs in which just one speaks of itself, and wins", _LABELS
    ),
    "markdown_wins_share": Meaning(
        "Markdown wins", "pairs in which just one has markdown, and wins", _LABELS
    ),
}
GROUPS = tuple(dict.fromkeys(meaning.group for meaning in MEANINGS.values()))


def is_of_chosen(name: str) -> bool:
    """Whether a figure is that of a second set of answers: the chosen texts beside sft's."""
    return name.removeprefix(OF_CHOSEN) in MEANINGS and name not in MEANINGS


def meaning_of(name: str) -> Meaning:
    """What a figure is, also one of the chosen texts."""
    if not is_of_chosen(name):
        return MEANINGS.get(name) or Meaning(name, "", "Other", False)
    own = MEANINGS[name.removeprefix(OF_CHOSEN)]
    return own._replace(title=f"{own.title} (chosen texts)")


def in_words(figure: Figure, *, percent: bool) -> str:
    """A figure with its interval, as one reads it: `12 % (9–16)`."""
    if figure.value is None:
        return "–"
    scale = 100 if percent else 1
    value, *ends = (
        _short(x * scale, percent) for x in (figure.value, figure.low, figure.high) if x is not None
    )
    unit = " %" if percent else ""
    return f"{value}{unit} ({'–'.join(ends)})" if ends else f"{value}{unit}"


def _short(number: float, percent: bool) -> str:
    if percent:
        return f"{number:.1f}" if abs(number) < 10 else f"{number:.0f}"
    return f"{number:.3g}"
