"""What is known for a public summary of training content (EU AI Act, Article 53(1)(d)).

The headings follow the template of the European Commission; the words are ours. Nothing is
guessed: what no file says stays open.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

from cai.publish.audit.rows import UNKNOWN

OPEN = "To be filled in by you"


class Section(NamedTuple):
    """A heading of the template, what is known under it, and what only you know."""

    number: str
    heading: str
    known: list[str]
    open: list[str]


def training_content(parts: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """The sections with what the parts of an audit say."""
    runs = [part for part in parts if part["kind"] == "run"]
    models = [part for part in parts if part["kind"] == "model"]
    sections = [
        *_general(runs, models),
        *_sources(runs),
        *_processing(runs),
    ]
    return [section._asdict() for section in sections]


def _general(runs: list[dict[str, Any]], models: list[dict[str, Any]]) -> list[Section]:
    bases = [f"Trained from {m['base']['name']} ({m['base'].get('identity')})." for m in models]
    tokens = sum(n.get("output", 0) for run in runs for n in run["tokens"].values())
    size = [f"Text. The models that made the data wrote {tokens:,} tokens."] if runs else ["Text."]
    rows = [f"{run['name']}: {n:,} rows of {d}." for run in runs for d, n in run["rows"].items()]
    return [
        Section("1.1", "The provider", [], ["Name, contact and representative in the Union"]),
        Section(
            "1.2",
            "The model",
            [f"{model['name']}, {model['method']}." for model in models] + bases,
            ["Name and version as published, date of placing on the market"],
        ),
        Section(
            "1.3",
            "Kinds of data, their size, and what else characterises them",
            size + rows,
            [
                "Size class of all training data, with that of the base model",
                "Latest date at which data was collected, languages, what the base was trained on",
            ],
        ),
    ]


def _sources(runs: list[dict[str, Any]]) -> list[Section]:
    origins = sorted(
        {(o["source"], o["licence"]) for run in runs for o in run["origins"]},
    )
    given = [
        f"Prompts of the source {source}, licence {licence}."
        for source, licence in origins
        if source != UNKNOWN
    ]
    nameless = any(source == UNKNOWN for source, _ in origins)
    makers = sorted(
        {m["name"] or m["identity"] for run in runs for m in run["models"].values()},
    )
    made = [f"Answers, revisions and labels were made by {name}." for name in makers]
    rules = [
        f"They were revised by the constitution {run['constitution'].get('name')}." for run in runs
    ]
    which = "Which of the prompts' sources belong here"
    return [
        Section("2.1", "Publicly available datasets", given, [which]),
        Section("2.2", "Datasets of third parties that are not public", [], [which]),
        Section("2.3", "Data crawled from online sources", [], ["Whether prompts come from there"]),
        Section("2.4", "Data of users", [], ["Whether prompts come from users, and their consent"]),
        Section(
            "2.5",
            "Synthetic data",
            made + rules,
            ["What the models that made it were trained on"] if made else ["All"],
        ),
        Section(
            "2.6",
            "Other sources",
            [],
            ["The prompts whose rows name no source"] if nameless or not runs else [],
        ),
    ]


def _processing(runs: list[dict[str, Any]]) -> list[Section]:
    gates = [
        f"{run['name']}: the gate “{gate['name']}” {'passed' if gate['passed'] else 'failed'}."
        for run in runs
        for gate in run["gates"]
    ]
    personal = [
        f"{run['name']}: {n:,} rows hold what looks like: {kind}."
        for run in runs
        for kind, n in run["personal"]["rows"].items()
    ]
    return [
        Section(
            "3.1",
            "Reservations of rights to text and data mining",
            [],
            ["What was done to honour them, for prompts and for the base model"],
        ),
        Section(
            "3.2",
            "Removal of illegal content",
            gates,
            ["What else was done; the gates above look for defects, and not for what is illegal"],
        ),
        Section("3.3", "Other information", personal, []),
    ]
