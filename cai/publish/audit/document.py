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
from cai.files import replacing, without_folders
from cai.publish.audit.bom import bill_of_materials
from cai.publish.audit.canonical import canonical
from cai.publish.audit.files import AUDIT, BOM, MARKDOWN, ROWS, Changes, changes_since, files_of
from cai.publish.audit.page import page
from cai.publish.audit.rows import Rows, write_rows
from cai.publish.audit.sources import HUB, Source, Sources, data_names, read_training
from cai.publish.audit.training_content import training_content
from cai.quality.records import QUALITY, read_quality
from cai.records import digest
from cai.settings import read_config

_GATE = ("name", "measure", "value", "limit", "passed", "count")
# Settings of a training that say where things are, and not what they are.
_PLACES = {"out", "report_to", "device", "data", "mix", "model"}
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


def audit(source: str | Path, out: Path, checks: Checks) -> Audit:
    """Write where the rows of a run, or a trained model, come from; the same again, the same bytes.

    Args:
        source: A run folder, the folder of a training, or `hf:owner/name[@revision][:config]` of
            what was pushed. Of a training all models before it and all data are part of it, as far
            as they are here.
        out: A folder for `audit.json`, `audit.md`, `rows.jsonl` and `bom.json`.
        checks: What is stored of the checks of a run's judge and critic.

    Raises:
        CaiError: It is neither, a file is damaged, or the folder is not writable.
    """
    try:
        with Sources(source) as sources:
            out.mkdir(parents=True, exist_ok=True)
            runs = {name: part.path for name, part in sources.parts.items() if part.kind == "run"}
            counted, sha = write_rows(runs, out / ROWS)
            parts = []
            for name, part in sources.parts.items():
                if part.kind == "run":
                    parts.append(_run(name, part, out, counted[name], checks))
                elif part.kind == "model":
                    parts.append(_model(name, part.path, out, sources))
                else:
                    parts.append({"name": name, "kind": "file", "files": files_of(part.path)})
            return _written(out, parts, sha)
    except OSError as error:
        raise CaiError(
            f"{error.filename or out}: {error.strerror or error}", "Choose another --out."
        ) from error


def verify(source: str | Path, out: Path) -> Changes:
    """What is not as the audit in a folder says.

    Raises:
        CaiError: There is no audit, it is damaged, or of something else.
    """
    with Sources(source) as sources:
        return changes_since({name: part.path for name, part in sources.parts.items()}, out)


def _run(name: str, part: Source, out: Path, rows: Rows, checks: Checks) -> dict[str, Any]:
    """Where the rows of a run come from."""
    folder = part.path
    manifest = Run.load(folder).manifest
    config, rules = folder / "config.yaml", folder / "constitution.yaml"
    settings = read_config(config) if config.is_file() else {}
    principles = load_constitution(rules).principles if rules.is_file() else ()
    return {
        "name": name,
        "kind": "run",
        **({"commit": part.commit} if part.commit is not None else {}),
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


def _model(name: str, folder: Path, out: Path, sources: Sources) -> dict[str, Any]:
    """What a model was trained from."""
    record = read_training(folder)
    settings, data = record["settings"], record["data"]
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
            "rows_digest": data.get("rows_digest"),
            "sources": list(_data(folder, record, sources)),
            "files": sorted(data.get("files", {}).values()),
        },
        "evaluations": _evaluations(folder),
    }


def _data(model: Path, record: Mapping[str, Any], sources: Sources) -> Iterator[dict[str, Any]]:
    """Each source of a training: under which name it is audited, what was read and kept of it.

    `same` is whether it still has the files that were trained on; None where that cannot be told:
    the training has no digest of them, or, of a dataset of the Hub, one of its rows.
    """
    names, counts = data_names(record), [*record["data"].get("sources", ())]
    for number, name in enumerate(names):
        part = sources.data_of(model, name)
        trained = _digests(name, record["data"].get("files", {}), alone=len(names) == 1)
        same: bool | None = None
        if part is not None and trained and not name.startswith(HUB):
            same = trained <= set(files_of(sources.parts[part].path).values())
        own = counts[number] if number < len(counts) else {}
        yield {
            "name": part or without_folders(name),
            "here": part is not None,
            "same": same,
            **{key: own.get(key) for key in ("read", "kept", "cut", "dropped")},
        }


def _digests(name: str, files: Mapping[str, str], *, alone: bool) -> set[str]:
    """The digests of the files that were read of a source."""
    return {sha for file, sha in files.items() if alone or Path(file).is_relative_to(name)}


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
