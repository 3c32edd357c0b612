"""The page of a run that has come to its end."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import IO, Any

from cai.calibration import Bin
from cai.checks.of_run import judge_check
from cai.dataset.run import Run
from cai.dataset.schema import Manifest, named
from cai.records import JudgeFacts, digest
from cai.report import principles
from cai.report.content import EMPTY, Content
from cai.report.coverage import Coverage, coverage_of
from cai.report.facts import SURPRISE, facts
from cai.report.figures import as_shown, in_order, measured, own_figures, verdict
from cai.report.listed import Listing, gate_rows, write_rows
from cai.report.pictures import pictures
from cai.report.record import published, published_facts, whole
from cai.report.rows import Item, items
from cai.report.svg import Picture
from cai.report.tally import Tally
from cai.report.words import plural
from cai.settings import read_config

_DAY = 10  # characters of a date


@dataclass(frozen=True)
class RunPage:
    """A run's page on its way: what it is about, and its rows."""

    folder: Path
    title: str
    items: Callable[[], Iterable[Item]]
    tally: Tally
    about: Mapping[str, str]
    settings: Mapping[str, Any]
    bins: Sequence[Bin] = ()
    chains: bool = True
    state: str = ""
    coverage: Coverage | None = None

    def content(self) -> Content:
        quality = measured(self.folder)
        marks = gate_rows(quality.gates if quality else ())

        def write(file: IO[str], limit: int) -> Mapping[str, Any]:
            return write_rows(file, replace(self._listing(marks), limit=limit))

        def values() -> dict[str, Any]:
            figures = {**own_figures(self.tally), **(quality.figures if quality else {})}
            failed = [gate for gate in quality.gates if not gate.passed] if quality else []
            first, more = in_order(figures, failed)
            return {
                **EMPTY,
                "title": self.title,
                "state": self.state,
                "facts": self.about,
                "settings": self.settings if self.chains else {},  # paths and servers
                "verdict": None if self.state else verdict(quality, self._named),
                "figures": list(as_shown(first)),
                "more_figures": list(as_shown(more)),
                "pictures": [*pictures(self.tally, self.bins), *self._covered()],
                "principles": list(principles.table(self.tally)),
                "principles_head": principles.HEAD,
                "agreement": principles.agreement(self.tally),
                "tables": list(_likes(quality.details)) if quality else [],
                "details": _details(quality.details) if quality and self.chains else {},
                "rows": True,
                "labels": True,
                "surprise": SURPRISE,
            }

        return Content(write, values, self._meta())

    def _covered(self) -> Iterator[Picture]:
        picture = self.coverage.picture() if self.coverage is not None else None
        if picture is not None:
            yield picture

    def _count(self, item: Item) -> None:
        self.tally.add(item)
        if self.coverage is not None:
            self.coverage.add(item.trace)

    @property
    def _named(self) -> Path:
        """The folder, as a reader of the page may know it."""
        return self.folder if self.chains else Path(self.folder.resolve().name)

    @property
    def _place(self) -> Any:
        """Where a reader's notes belong; a page that leaves the machine does not tell its folder.

        So it is the same from whatever folder it is made.
        """
        return str(self.folder.resolve()) if self.chains else [self.title, dict(self.about)]

    def _meta(self) -> dict[str, Any]:
        return {
            "kind": "run",
            "chains": self.chains,
            "notes": digest(self._place)[:16],
            "sft": self.tally.sft,
        }

    def _listing(self, marks: Mapping[str, Sequence[tuple[str, str]]]) -> Listing:
        sft = self.tally.sft
        if self.chains:
            return Listing(
                self.items, lambda item: facts(item, sft=sft), whole, marks, 0, self._count
            )
        return Listing(
            self.items,
            lambda item: published_facts(facts(item, sft=sft), published(item, (), sft=sft)),
            lambda item, marks: published(item, marks, sft=sft),
            marks,
            0,
            self._count,
        )


def _details(details: Mapping[str, Any]) -> dict[str, str]:
    return {n: json.dumps(v, ensure_ascii=False, indent=1) for n, v in details.items()}


def _likes(details: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    """What labels follow, in words: of all labels, and of each principle that is clear or odd."""
    rows = [("all", line) for line in details.get("judge_likes") or ()]
    for principle in details.get("principles", ()):
        lines = [*principle["likes"], *([principle["odd"]] if principle["odd"] else [])]
        rows += [(principle["id"], line) for line in lines]
    if rows:
        head = ["principle", "what it follows"]
        yield {"title": "What the labels follow", "head": head, "rows": rows, "words": True}


def run_content(folder: Path, *, chains: bool = True) -> Content:
    """The parts of the page of a finished run.

    Raises:
        CaiError: A file of the run is damaged.
    """
    run = Run.load(folder)
    run.check_files()
    manifest, settings = run.manifest, settings_of(folder)
    temperature = JudgeFacts.model_validate(manifest.judge or {}).temperature
    stages = settings.get("stages") or ["sft", "preferences"]
    tally = Tally(sft="sft" in stages, temperature=temperature)
    return RunPage(
        folder,
        manifest.constitution.get("name", folder.name),
        lambda: items(run),
        tally,
        about(manifest),
        settings,
        check.bins if (check := judge_check(folder)) is not None else (),
        chains,
        coverage=coverage_of(folder),
    ).content()


def settings_of(folder: Path) -> dict[str, Any]:
    """The settings that a run saved; none where a folder came without them."""
    path = folder / "config.yaml"
    return read_config(path) if path.is_file() else {}


def about(manifest: Manifest) -> dict[str, str]:
    """What a run was made of, in a line each."""
    kinds = manifest.prompts.get("kinds") or {}
    models = {named(manifest.names.get(r), i): None for r, i in sorted(manifest.models.items())}
    seconds = manifest.timings.get("seconds") or {}
    tokens = sum(part.get("output", 0) for part in manifest.tokens.values())
    lines = {
        "Constitution": f"{manifest.constitution.get('name')} "
        f"({str(manifest.constitution.get('digest'))[:12]})",
        "Prompts": ", ".join(f"{n:,} {kind}" for kind, n in kinds.items()),
        "Models": ", ".join(models),
        "Made": str(manifest.timings.get("started", ""))[:_DAY],
        "Took": _duration(float(seconds.get("generate") or 0)),
        "Tokens written": f"{tokens:,}",
    }
    if manifest.judge:
        lines["Judge"] = JudgeFacts.model_validate(manifest.judge).state
    return {name: value for name, value in lines.items() if value}


def _duration(seconds: float) -> str:
    if seconds < 90:
        return plural(round(seconds), "second")
    minutes = round(seconds / 60)
    return plural(minutes, "minute") if minutes < 120 else f"{minutes / 60:.1f} hours"
