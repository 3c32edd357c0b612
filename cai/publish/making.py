"""How a dataset was made, in Markdown: models, settings, the constitution, missing rows."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from pathlib import Path

from cai.config import Settings
from cai.constitution.records import Constitution
from cai.constitution.yaml_file import dumped
from cai.dataset.run import without_row
from cai.dataset.schema import Manifest, named
from cai.dataset.traces import lines_of
from cai.files import without_folders
from cai.markdown import fenced, plain
from cai.records import JudgeFacts

# What a setting is about that a reader of the data wants to know; the others name places.
_PANELS = ("Method", "Pairs and labels", "Sampling")
_LONGEST = 500  # characters of one fact


def facts(settings: Settings, constitution: Constitution, manifest: Manifest) -> str:
    """A list of what the run was made of."""
    kinds: Mapping[str, int] = manifest.prompts.get("kinds", {})
    lines = {
        "Constitution": f"{constitution.name}, {len(constitution.principles)} principles, "
        f"sha256 {constitution.digest[:16]}",
        "Prompts": ", ".join(f"{n:,} {kind}" for kind, n in kinds.items())
        + f" from {without_folders(settings.prompts)}",
        "Model": "; ".join(
            sorted({named(manifest.names.get(r), i) for r, i in manifest.models.items()})
        ),
        "Chain": f"preset {settings.preset}, {settings.revisions} revision(s), "
        f"critique {'on' if settings.critique else 'off'}, "
        f"verdict {'on' if settings.verdict else 'off'}",
        "Seed": str(settings.seed),
        **_fed(manifest),
    }
    if "preferences" in settings.stages:
        lines["Labels"] = _labels(settings, manifest)
    if changed := _changed(settings):
        lines["Settings that differ from the defaults"] = ", ".join(changed)
    return "\n".join(f"- {name}: {plain(value, _LONGEST)}" for name, value in lines.items())


def _changed(settings: Settings) -> list[str]:
    fields = Settings.model_fields
    extras = {name: field.json_schema_extra for name, field in fields.items()}
    shown = [
        name
        for name, extra in extras.items()
        if isinstance(extra, dict) and extra["panel"] in _PANELS
    ]
    values = {name: getattr(settings, name) for name in shown}
    return [
        f"{name} {_value(value)}" for name, value in values.items() if value != fields[name].default
    ]


def _value(value: object) -> str:
    return "+".join(map(str, value)) if isinstance(value, tuple) else str(value)


def _fed(manifest: Manifest) -> dict[str, str]:
    """What the models' templates add to the texts, each said once."""
    lines: dict[str, dict[str, str]] = {}
    for feeding in manifest.fed.values():
        for name, text in feeding.items():
            lines.setdefault(name.capitalize(), {})[text] = text
    return {plain(name, 100): "; ".join(texts) for name, texts in lines.items()}


def _labels(settings: Settings, manifest: Manifest) -> str:
    counts, judge = manifest.counts, JudgeFacts.model_validate(manifest.judge)
    rows = counts.get("preferences.train", 0) + counts.get("preferences.test", 0)
    pairs = {
        name.removeprefix("pairs."): n for name, n in counts.items() if name.startswith("pairs.")
    }
    dropped = {name: n for name, n in pairs.items() if not name.endswith(".labelled")}
    reasons = ", ".join(f"{n:,} {name.replace('.', ' ')}" for name, n in dropped.items())
    temperature = judge.temperature
    return (
        f"{settings.judge_principles} principle(s) per comparison, both orders"
        f"{', reasoning first' if settings.cot else ''}; judge: {judge.state}"
        f"{f'; temperature {temperature:.4g}' if temperature != 1 else ''}; "
        f"{rows:,} of {sum(pairs.values()):,} pairs kept"
        f"{f', dropped: {reasons}' if reasons else ''}"
    )


def template_digests(manifest: Manifest) -> str:
    """The words that models read, by digest, folded away."""
    lines = "\n".join(f"{name} {digest}" for name, digest in manifest.templates.items())
    return _folded("Templates by digest", fenced(lines))


def principles(constitution: Constitution) -> str:
    """The constitution in full, folded away."""
    data = constitution.model_dump(mode="json", exclude_defaults=True)
    text = dumped({"version": 1, **data}, 100)
    return _folded("The constitution", fenced(text, "yaml"))


def _folded(title: str, block: str) -> str:
    return f"<details><summary>{title}</summary>\n\n{block}\n\n</details>"


def missing_rows(folder: Path, manifest: Manifest, left_out: int = 0) -> str:
    """How many prompts and pairs gave no row, and why."""
    counts = manifest.counts
    lines = [f"{counts.get('failures', 0):,} prompts gave no row{_failures(folder)}."]
    held = {
        key.removeprefix("not in sft."): n
        for key, n in counts.items()
        if key.startswith("not in sft.")
    }
    if held:
        lines.append(f"Chains that are no training row: {_listed(held)}.")
    if pairs := without_row(counts):
        lines.append(f"Pairs that are no preference: {_listed(pairs)}.")
    if left_out:
        lines.append(f"Left out by the publisher: all rows of {left_out:,} prompts.")
    return "\n".join(f"- {line}" for line in lines)


def _failures(folder: Path) -> str:
    rows = lines_of(folder / "failures.jsonl")
    reasons = Counter(str(row["error"]) for row in rows if row.get("pair") is None)
    return f": {_listed(dict(reasons.most_common()))}" if reasons else ""


def _listed(reasons: Mapping[str, int]) -> str:
    return ", ".join(f"{n:,} {plain(reason, 100)}" for reason, n in reasons.items())
