"""The audit of a run or a trained model: from what is published back to where it comes from."""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

from cai.constitution.load import load as load_constitution
from cai.dataset.run import Run
from cai.errors import CaiError
from cai.files import replacing
from cai.publish.audit.bom import bill_of_materials
from cai.publish.audit.canonical import canonical
from cai.publish.audit.files import AUDIT, BOM, MARKDOWN, ROWS, Changes, changes_since, files_of
from cai.publish.audit.page import page
from cai.publish.audit.rows import Rows, write_rows
from cai.publish.audit.training_content import training_content
from cai.quality.records import QUALITY, read_quality
from cai.records import digest
from cai.settings import read_config

TRAINING = "training.json"
_HINT = "Give a run folder, or the folder of cai train."
_GATE = ("name", "measure", "value", "limit", "passed", "count")
# Settings of a training that say where things are, and not what they are.
_PLACES = {"out", "report_to", "device", "data", "model"}
Checks = Callable[[Path], Mapping[str, Any]]


class Audit(NamedTuple):
    """What was written.

    Attributes:
        folder: Where the documents are.
        digest: SHA-256 of the document in JSON, which has the digests of all others.
        document: The document.
    """

    folder: Path
    digest: str
    document: dict[str, Any]


def audit(source: Path, out: Path, checks: Checks) -> Audit:
    """Write where the rows of a run, or a trained model, come from; the same again, the same bytes.

    Args:
        source: A run folder, or the folder of a training; the run that it names is part of it,
            where it is there.
        out: A folder for `audit.json`, `audit.md`, `rows.jsonl` and `bom.json`.
        checks: What is stored of the checks of a run's judge and critic.

    Raises:
        CaiError: It is neither, a file is damaged, or the folder is not writable.
    """
    sources = sources_of(source)
    try:
        out.mkdir(parents=True, exist_ok=True)
        runs = {name: path for name, path in sources.items() if not _is_model(path)}
        counted, sha = write_rows(runs, out / ROWS)
        parts = [
            _run(name, folder, out, counted[name], checks)
            if name in runs
            else _model(name, folder, out)
            for name, folder in sources.items()
        ]
        return _written(out, parts, sha)
    except OSError as error:
        raise CaiError(
            f"{error.filename or out}: {error.strerror or error}", "Choose another --out."
        ) from error


def verify(source: Path, out: Path) -> Changes:
    """What is not as the audit in a folder says.

    Raises:
        CaiError: There is no audit, it is damaged, or of something else.
    """
    return changes_since(sources_of(source), out)


def sources_of(source: Path) -> dict[str, Path]:
    """The folders that an audit is of, by name.

    They are a model, the models that it goes on from, and the runs that they were trained on, as
    far as they are here; or a run alone.

    Raises:
        CaiError: It is neither a run nor a training.
    """
    models: list[Path] = []
    runs: list[Path] = []
    base: Path | None = source.resolve()
    while base is not None and _is_model(base) and base not in models:
        models.append(base)
        settings = _record(base)["settings"]
        runs.append(_seen_from(base, settings["data"], "manifest.json") or base)
        base = _seen_from(base, settings.get("model"), TRAINING)
    if not models and not (source / "manifest.json").is_file():
        raise CaiError(f"{source}: neither a finished run nor a trained model", _HINT)
    names: dict[str, Path] = {}
    for folder in dict.fromkeys([*models, *(runs or [source.resolve()])]):
        same = sum(path.name == folder.name for path in names.values())
        names[f"{folder.name}-{same + 1}" if same else folder.name] = folder
    return names


def _is_model(folder: Path) -> bool:
    return (folder / TRAINING).is_file()


def _record(folder: Path) -> dict[str, Any]:
    path = folder / TRAINING
    try:
        record: dict[str, Any] = json.loads(path.read_bytes())
        if not isinstance(record["settings"]["data"], str) or not isinstance(record["data"], dict):
            raise TypeError
    except (ValueError, KeyError, TypeError):
        raise CaiError(f"{path}: damaged", "Give another folder of cai train.") from None
    return record


def _seen_from(folder: Path, name: str | None, file: str) -> Path | None:
    """A folder with this file, by a name that is seen from here or from above a model's folder."""
    if not name or name.startswith("hf:"):
        return None
    places = [Path(name), *(parent / name for parent in folder.resolve().parents)]
    return next((p.resolve() for p in places if (p / file).is_file()), None)


def _run(name: str, folder: Path, out: Path, rows: Rows, checks: Checks) -> dict[str, Any]:
    """Where the rows of a run come from."""
    manifest = Run.load(folder).manifest
    config, rules = folder / "config.yaml", folder / "constitution.yaml"
    settings = read_config(config) if config.is_file() else {}
    principles = load_constitution(rules).principles if rules.is_file() else ()
    return {
        "name": name,
        "kind": "run",
        "files": files_of(folder, out),
        "constitution": manifest.constitution,
        "principles": [
            {
                "id": p.id,
                "digest": digest(p.model_dump(mode="json")),
                "rows": {d: n for (d, q), n in sorted(rows.principles.items()) if q == p.id},
            }
            for p in principles
        ],
        "templates": manifest.templates,
        "models": {
            role: {"identity": identity, "name": manifest.names.get(role)}
            for role, identity in manifest.models.items()
        },
        "packages": manifest.packages,
        "seed": manifest.seed,
        "settings": digest(settings),
        "prompts": manifest.prompts,
        "tokens": manifest.tokens,
        "counts": manifest.counts,
        "rows": dict(sorted(rows.counts.items())),
        "origins": [
            {"dataset": dataset, "source": source, "licence": licence, "rows": n}
            for (dataset, source, licence), n in sorted(rows.origins.items())
        ],
        "licences": _by_licence(rows),
        "personal": {"rows": dict(sorted(rows.personal.items())), "first": rows.named},
        "checks": dict(checks(folder)),
        "gates": _gates(folder),
        "evaluations": _evaluations(folder),
    }


def _by_licence(rows: Rows) -> dict[str, int]:
    counts: Counter[str] = Counter()
    for (_, _, licence), n in rows.origins.items():
        counts[licence] += n
    return dict(sorted(counts.items()))


def _gates(folder: Path) -> list[dict[str, Any]]:
    """The gates of the quality that was measured; none where it was not."""
    if not (folder / QUALITY).is_file():
        return []
    gates = read_quality(folder / QUALITY).gates
    return [gate.model_dump(mode="json", include=set(_GATE)) for gate in gates]


def _model(name: str, folder: Path, out: Path) -> dict[str, Any]:
    """What a model was trained from."""
    record = _record(folder)
    settings, data = record["settings"], record["data"]
    run = _seen_from(folder, settings["data"], "manifest.json")
    there = set(files_of(run).values()) if run is not None else set()
    return {
        "name": name,
        "kind": "model",
        "files": files_of(folder, out),
        "state": record.get("state"),
        "method": record.get("method"),
        "base": {"name": settings.get("model"), **record.get("base", {})},
        "settings": {k: v for k, v in sorted(settings.items()) if k not in _PLACES},
        "template": record.get("template"),
        "packages": record.get("packages", {}),
        "steps": record.get("steps"),
        "data": {
            "name": Path(settings["data"]).name if run else settings["data"],
            "rows_digest": data.get("rows_digest"),
            "sources": [
                {key: source.get(key) for key in ("read", "kept", "cut", "dropped")}
                for source in data.get("sources", ())
            ],
            "files": sorted(data.get("files", {}).values()),
            "here": run is not None,
            "same": bool(there) and set(data.get("files", {}).values()) <= there,
        },
        "evaluations": _evaluations(folder),
    }


def _evaluations(folder: Path) -> list[dict[str, Any]]:
    """What evaluations say, in numbers; their texts stay where they are."""
    found = []
    for path in sorted(folder.glob("evaluation*.json")):
        try:
            figures = dict(_numbers(json.loads(path.read_bytes())))
        except ValueError:
            raise CaiError(f"{path}: damaged", "Evaluate again, or move it away.") from None
        found.append({"file": path.name, "figures": figures})
    return found


def _numbers(value: Any, name: str = "") -> Iterator[tuple[str, float | bool]]:
    if isinstance(value, bool | int | float):
        yield name, value
    elif isinstance(value, dict):
        for key, inside in value.items():
            yield from _numbers(inside, f"{name}.{key}" if name else str(key))


def _written(out: Path, parts: list[dict[str, Any]], rows: str) -> Audit:
    """Write the documents; that in JSON is last, with the digests of the others."""
    content = training_content(parts)
    about = {"version": 1, "parts": parts, "training_content": content}
    texts = {
        BOM: canonical(bill_of_materials(parts)),
        MARKDOWN: page(parts, content).encode(),
    }
    digests = {name: hashlib.sha256(text).hexdigest() for name, text in texts.items()}
    digests[ROWS] = rows
    document = {**about, "documents": dict(sorted(digests.items()))}
    texts[AUDIT] = canonical(document)
    for name, text in texts.items():
        with replacing(out / name) as file:
            file.write(text.decode())
    return Audit(out, hashlib.sha256(texts[AUDIT]).hexdigest(), document)
