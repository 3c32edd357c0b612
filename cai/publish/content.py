"""What of a run or a model is sent: a folder of links and of files that are made for it."""

from __future__ import annotations

import hashlib
import json
import sqlite3
import tempfile
from collections.abc import Callable, Collection, Sequence
from contextlib import closing
from pathlib import Path
from typing import Literal, NamedTuple, get_args

from cai.config import stored_settings
from cai.constitution.load import load
from cai.dataset.run import Run
from cai.dataset.schema import SPLITS, Manifest
from cai.errors import CaiError
from cai.files import JOURNAL, file_digest
from cai.publish.card import Publication, dataset_card
from cai.publish.croissant import CROISSANT, croissant
from cai.publish.header import rows_of
from cai.publish.model import place_model
from cai.publish.rest import rest_of
from cai.publish.rows import link, place, place_failures, prompt_ids
from cai.quality.records import QUALITY, Quality, read_quality, write_quality
from cai.settings import read_config

Extra = Literal["traces", "failures", "journal"]
EXTRAS: tuple[Extra, ...] = get_args(Extra)
RepoType = Literal["dataset", "model"]
Report = Callable[[Path, Path], object]  # writes the page of a run into a file

# What an earlier push may have left of a repository's files and this one does not have.
OWN_FILES: dict[RepoType, tuple[str, ...]] = {
    "dataset": (
        *(f"{n}/{s}.parquet" for n in ("sft", "preferences", "traces") for s in SPLITS),
        *("failures.jsonl", JOURNAL, QUALITY, "report.html"),
    ),
    "model": ("*.safetensors", "*.safetensors.index.json", "adapter_config.json"),
}


class Choice(NamedTuple):
    """What a user wants to send.

    Attributes:
        repo: `owner/name`.
        include: What stays at home unless it is asked for.
        without: Ids of prompts or rows; all rows of their prompts are left out.
        licence: The Hub's name of a licence.
    """

    repo: str
    include: tuple[Extra, ...] = ()
    without: tuple[str, ...] = ()
    licence: str | None = None


class Content(NamedTuple):
    """A folder that holds what is sent, and nothing else.

    Attributes:
        folder: The files, some of them links.
        type: What kind of repository it is for.
        left_out: Prompts whose rows were left out.
    """

    folder: Path
    type: RepoType
    left_out: frozenset[str] = frozenset()

    @property
    def files(self) -> dict[str, Path]:
        """The files by their names in the repository."""
        paths = sorted(path for path in self.folder.rglob("*") if path.is_file())
        return {path.relative_to(self.folder).as_posix(): path for path in paths}

    @property
    def digest(self) -> str:
        """SHA-256 over names and contents."""
        lines = [f"{name} {file_digest(path)}\n" for name, path in self.files.items()]
        return hashlib.sha256("".join(lines).encode()).hexdigest()


def content_of(source: Path, folder: Path, choice: Choice, report: Report | None = None) -> Content:
    """Gather what is sent of a run or of a trained model.

    Args:
        source: The run, or the folder of a training.
        folder: An empty one, which takes links and files.
        choice: What the user wants.
        report: Writes the page of the run without its chains.

    Raises:
        CaiError: The source is neither, is not finished, or what is wanted is not there.
    """
    if (source / "training.json").is_file():
        if choice.include or choice.without:
            raise CaiError(
                f"{source}: a model has no rows", "--include and --without are for runs."
            )
        place_model(source, folder, choice.licence)
        return Content(folder, "model")
    run = Run.load(source)
    left_out = prompt_ids(source, choice.without)
    configs = _place_datasets(source, folder, choice, left_out)
    _place_extras(source, folder, choice.include, left_out)
    with tempfile.TemporaryDirectory(prefix="cai-rest-") as place:
        # What is measured and shown is of the rows that are sent.
        name = run.folder.resolve().name
        shown = rest_of(run, Path(place) / name, left_out) if left_out else run
        quality = _place_quality(shown.folder, folder, name)
        _place_account(run, shown.manifest, folder, choice, configs, quality, left_out)
        if report is not None:
            report(shown.folder, folder / "report.html")
    return Content(folder, "dataset", left_out)


def _place_datasets(
    source: Path, folder: Path, choice: Choice, left_out: Collection[str]
) -> tuple[str, ...]:
    names = ["sft", "preferences", *(["traces"] if "traces" in choice.include else [])]
    sent = []
    for name in names:
        for split in SPLITS:
            path = source / name / f"{split}.parquet"
            if path.is_file() and place(path, folder / name / f"{split}.parquet", left_out):
                sent.append(name)
    if not sent:
        raise CaiError(
            f"{source}: no row to send", "cai show RUN --failed says why rows are missing."
        )
    return tuple(name for name in names if name in sent)


def _place_extras(
    source: Path, folder: Path, include: Sequence[Extra], left_out: Collection[str]
) -> None:
    if "failures" in include:
        place_failures(source / "failures.jsonl", folder / "failures.jsonl", left_out)
    if "journal" in include:
        if left_out:
            raise CaiError(
                "the journal holds every call, also those of rows that are left out",
                "Give --include journal or --without, not both.",
            )
        if not (source / JOURNAL).is_file():
            raise CaiError(f"{source / JOURNAL}: missing", "Leave --include journal out.")
        # A copy that is whole, also while the write-ahead log holds what the file does not.
        with (
            closing(sqlite3.connect(f"file:{source / JOURNAL}?mode=ro", uri=True)) as journal,
            closing(sqlite3.connect(folder / JOURNAL)) as copy,
        ):
            journal.backup(copy)


def _place_quality(source: Path, folder: Path, name: str) -> Quality | None:
    """Write the measures, with the run's name for its folder on this machine."""
    if not (source / QUALITY).is_file():
        return None
    quality = read_quality(source / QUALITY).model_copy(update={"data": name})
    write_quality(quality, folder / QUALITY)
    return quality


def _place_account(
    run: Run,
    manifest: Manifest,
    folder: Path,
    choice: Choice,
    configs: tuple[str, ...],
    quality: Quality | None,
    left_out: Collection[str],
) -> None:
    """Constitution, manifest with the counts that are sent, and card."""
    source = run.folder
    link(source / "constitution.yaml", folder / "constitution.yaml")
    stale = [f"{name}.{split}" for name in ("sft", "preferences", "traces") for split in SPLITS]
    counts = {name: n for name, n in manifest.counts.items() if name not in stale}
    counts = dict(sorted({**counts, **rows_of(folder, configs)}.items()))
    manifest = manifest.model_copy(update={"counts": counts})
    text = json.dumps(manifest.model_dump(mode="json"), indent=2) + "\n"
    (folder / "manifest.json").write_text(text, encoding="utf-8")
    settings = stored_settings(read_config(source / "config.yaml"))
    constitution = load(source / "constitution.yaml")
    publication = Publication(folder, choice.repo, configs, choice.licence, quality, len(left_out))
    card = dataset_card(source, settings, constitution, manifest, publication)
    (folder / "README.md").write_text(card, encoding="utf-8")
    document = croissant(folder, choice.repo, constitution, manifest, licence=choice.licence)
    (folder / CROISSANT).write_text(document, encoding="utf-8")
