"""The dataset card: what `load_dataset` and a reader need to know of a dataset made here."""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

from cai.config import Settings
from cai.constitution.records import Constitution
from cai.constitution.yaml_file import dumped
from cai.dataset.schema import DATASETS, SPLITS, Manifest
from cai.markdown import plain
from cai.publish.example import example
from cai.publish.header import ROWS_ARE, header, rows_of
from cai.publish.making import facts, missing_rows, principles, template_digests
from cai.publish.measures import measures, spending
from cai.publish.use import CITATION, how_to_use
from cai.quality.records import Quality


class Publication(NamedTuple):
    """What a card says of data that leaves the run folder.

    Attributes:
        folder: Where the datasets stand that are sent.
        repo: Under which name they will be found.
        configs: The datasets that are sent.
        licence: The Hub's name of a licence, if the user gave one.
        quality: What was measured of the run, without the rows that are left out.
        left_out: Prompts whose rows were left out.
    """

    folder: Path
    repo: str
    configs: tuple[str, ...]
    licence: str | None = None
    quality: Quality | None = None
    left_out: int = 0


def dataset_card(
    folder: Path,
    settings: Settings,
    constitution: Constitution,
    manifest: Manifest,
    publication: Publication | None = None,
) -> str:
    """README.md of a dataset: a YAML header that declares its splits, and an account.

    Args:
        folder: The run.
        settings: What it was made by.
        constitution: Shown in full.
        manifest: Models, digests and counts.
        publication: What is sent to the Hub. Without it the card is that of the run folder, and
            has nothing that differs from run to run: no times, tokens or measures.
    """
    data = publication.folder if publication else folder
    configs = publication.configs if publication else tuple(DATASETS)
    top = dumped(
        header(
            data,
            constitution.name,
            [manifest.names.get(role, "") for role in manifest.models],
            configs,
            publication.licence if publication else None,
        )
    )
    parts = [
        f"# {plain(constitution.name, 200)}: revised by a constitution",
        _introduction(manifest),
        _rows_table(data, configs),
        missing_rows(folder, manifest, publication.left_out if publication else 0),
        f"## A row\n\n{example(data, configs)}",
        _made(settings, constitution, manifest, published=publication is not None),
    ]
    if publication is not None:
        parts += [measures(publication.quality, publication.left_out), spending(manifest)]
    parts += [
        how_to_use(publication.repo if publication else ".", configs),
        _limits(configs, publication.licence if publication else None),
        CITATION,
    ]
    return f"---\n{top}---\n\n" + "\n\n".join(part for part in parts if part) + "\n"


def _introduction(manifest: Manifest) -> str:
    return (
        f"Made with `cai` {plain(manifest.packages['constitutional-ai'])}: a model answers a "
        "prompt, criticises its\nanswer by a principle drawn from the constitution, and rewrites "
        "it where a change is needed; a judge\nlabels pairs of answers by comparison principles, "
        "in both orders (Constitutional AI, Bai et al.\n2022, arXiv:2212.08073). **All answers, "
        "critiques and labels were written by language models.**"
    )


def _rows_table(folder: Path, configs: tuple[str, ...]) -> str:
    counts = rows_of(folder, configs)
    lines = [
        f"| `{name}` | {ROWS_ARE[name]} | "
        + " | ".join(f"{counts.get(f'{name}.{split}', 0):,}" for split in SPLITS)
        + " |"
        for name in configs
    ]
    return "\n".join(["| dataset | rows are | train | test |", "|---|---|---:|---:|", *lines])


def _made(
    settings: Settings, constitution: Constitution, manifest: Manifest, *, published: bool
) -> str:
    files = (
        "`constitution.yaml` and the settings"
        if published
        else ("`config.yaml` and `constitution.yaml`")
    )
    return "\n\n".join(
        [
            f"## How it was made\n\n{facts(settings, constitution, manifest)}",
            template_digests(manifest),
            f"{files} repeat the run; `manifest.json` has all digests and versions.\n"
            "No prompt stands in two splits: the split is a hash of the prompt's group or first "
            "human turn.",
            principles(constitution),
        ]
    )


def _limits(configs: tuple[str, ...], licence: str | None) -> str:
    where = "rejected ones in `preferences`"
    if "traces" in configs:
        where = f"first answers in `traces`, and {where}"
    sources = (
        "Licences of prompts are in the column\n`licence` of `traces`, where they were given."
        if "traces" in configs
        else "Licences of prompts are in the run's traces, which are\nnot here."
    )
    given = (
        f"`{licence}` is the licence that the publisher chose."
        if licence
        else "The publisher has named no licence."
    )
    return f"""## Limits

The texts are a language model's. Prompts of the kind `red-team` ask for harmful things, and
{where}, may give them. Nobody has checked the
rows one by one: they may be wrong, repeat the model's habits, and miss what the constitution wants.
The languages in the header are told by py3langid from the first answers, not known.

## Licence

{given} The terms of the models that wrote the
texts may bind what is made with them: read the licence of each model named above. {sources}"""
