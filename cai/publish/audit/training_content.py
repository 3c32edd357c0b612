"""What is known for a public summary of training content (EU AI Act, Article 53(1)(d)).

The headings are those of the European Commission's template of July 2025; what stands under them
is ours. Nothing is guessed: what no file says stays open.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

from cai.publish.audit.rows import UNKNOWN
from cai.publish.audit.sources import HUB

OPEN = "To be filled in by you"


class Section(NamedTuple):
    """A heading of the template, what is known under it, and what only you know.

    One that has others under it has neither.
    """

    number: str
    heading: str
    known: Sequence[str] = ()
    open: Sequence[str] = ()


def training_content(parts: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """The sections with what the parts of an audit say."""
    runs = [part for part in parts if part["kind"] == "run"]
    models = [part for part in parts if part["kind"] == "model"]
    sections = [
        Section("1", "General information"),
        *_general(runs, models),
        Section("2", "List of data sources"),
        *_sources(runs, models),
        Section("3", "Data processing aspects"),
        *_processing(runs),
    ]
    return [
        {**section._asdict(), "known": [*section.known], "open": [*section.open]}
        for section in sections
    ]


def _general(runs: list[dict[str, Any]], models: list[dict[str, Any]]) -> list[Section]:
    bases = [f"Trained from {m['base']['name']} ({m['base'].get('identity')})." for m in models]
    tokens = sum(n.get("output", 0) for run in runs for n in run["tokens"].values())
    size = [f"Text. The models that made the data wrote {tokens:,} tokens."] if runs else ["Text."]
    rows = [f"{run['name']}: {n:,} rows of {d}." for run in runs for d, n in run["rows"].items()]
    return [
        Section(
            "1.1",
            "Provider identification",
            [],
            ["Name and contact of the provider, and of the authorised representative"],
        ),
        Section(
            "1.2",
            "Model identification",
            [f"{model['name']}, {model['method']}." for model in models] + bases,
            [
                "Names and versions as published, and the date of placement on the Union market",
                "The models that it goes on from, with links to their own summaries",
            ],
        ),
        Section(
            "1.3",
            "Modalities, overall training data size and other characteristics",
            size + rows,
            [
                "The size range of all training data, with that of the base model, and the kinds "
                "of texts",
                "Latest date at which data was acquired, languages, and other characteristics",
            ],
        ),
    ]


def _sources(runs: list[dict[str, Any]], models: list[dict[str, Any]]) -> list[Section]:
    origins = sorted({(o["source"], o["licence"]) for run in runs for o in run["origins"]})
    given = [
        f"Prompts of the source {source}, licence {licence}."
        for source, licence in origins
        if source != UNKNOWN
    ]
    nameless = any(source == UNKNOWN for source, _ in origins)
    others = list(_other_data(runs, models))
    public = [words for name, words in others if name.startswith(HUB)]
    private = [words for name, words in others if not name.startswith(HUB)]
    which = "Which of the sources of prompts belong here"
    return [
        Section(
            "2.1",
            "Publicly available datasets",
            given + public,
            ["Which of these are public, and those among them that are large"],
        ),
        Section("2.2", "Private non-publicly available datasets obtained from third parties"),
        Section(
            "2.2.1",
            "Datasets commercially licensed by rightsholders or their representatives",
            [],
            [which],
        ),
        Section("2.2.2", "Private datasets obtained from other third parties", [], [which]),
        Section(
            "2.3",
            "Data crawled and scraped from online sources",
            [],
            ["Whether prompts come from there: crawlers, period, the most important domains"],
        ),
        Section(
            "2.4",
            "User data",
            [],
            ["Whether prompts come from users of a model or of another service of yours"],
        ),
        _synthetic(runs),
        Section(
            "2.6",
            "Other sources of data",
            private,
            ["The prompts whose rows name no source"] if nameless or not runs else [],
        ),
    ]


def _other_data(
    runs: list[dict[str, Any]], models: list[dict[str, Any]]
) -> Iterator[tuple[str, str]]:
    """Name and words of each source of a training that is no run of this audit, once."""
    made = {run["name"] for run in runs}
    sources = [source for model in models for source in model["data"]["sources"]]
    for name in dict.fromkeys(s["name"] for s in sources if s["name"] not in made):
        kept = max(source["kept"] or 0 for source in sources if source["name"] == name)
        yield name, f"{kept:,} rows of {name} were trained on."


def _synthetic(runs: list[dict[str, Any]]) -> Section:
    makers = sorted({m["name"] or m["identity"] for run in runs for m in run["models"].values()})
    made = [f"Answers, revisions and labels were made by {name}." for name in makers]
    rules = [
        f"They were revised by the constitution {run['constitution'].get('name')}." for run in runs
    ]
    there = ["What the models that made it were trained on"] if made else ["All"]
    return Section("2.5", "Synthetic data", made + rules, there)


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
            "Respect of reservation of rights from text and data mining exception or limitation",
            [],
            ["What was done to honour them, for prompts and for the base model"],
        ),
        Section(
            "3.2",
            "Removal of illegal content",
            gates,
            ["What else was done; the gates above look for defects, and not for what is illegal"],
        ),
        Section("3.3", "Other information (optional)", personal, []),
    ]
