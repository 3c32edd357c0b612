"""The bill of materials of a run or a trained model, in CycloneDX 1.6."""

from __future__ import annotations

import re
import uuid
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from cai.publish.audit.rows import UNKNOWN
from cai.records import digest

_SPACE = uuid.uuid5(uuid.NAMESPACE_DNS, "constitutional-ai.audit")
_SHA = re.compile(r"[0-9a-f]{64}")


def bill_of_materials(parts: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """Models, datasets, constitution and packages as components; no time, so the same bytes."""
    first, *others = [_part(part, parts) for part in parts]
    components = {c["bom-ref"]: c for part in parts for c in _materials(part)}
    needs = {_ref(part): sorted({c["bom-ref"] for c in _materials(part)}) for part in parts}
    for part in parts:
        if part["kind"] == "model":
            needs[_ref(part)] += _data_refs(part, parts)
    everything = [*others, *(components[ref] for ref in sorted(components))]
    return {
        "$schema": "http://cyclonedx.org/schema/bom-1.6.schema.json",
        "bomFormat": "CycloneDX",
        "specVersion": "1.6",
        "serialNumber": f"urn:uuid:{uuid.uuid5(_SPACE, digest(list(parts)))}",
        "version": 1,
        "metadata": {"component": first},
        "components": everything,
        "dependencies": [
            {"ref": ref, "dependsOn": sorted(set(on))} for ref, on in sorted(needs.items())
        ],
    }


def _ref(part: Mapping[str, Any]) -> str:
    return f"{part['kind']}:{part['name']}"


def _data_refs(model: Mapping[str, Any], parts: Sequence[dict[str, Any]]) -> list[str]:
    """The parts that a model was trained on."""
    names = {source["name"] for source in model["data"]["sources"] if source["here"]}
    return [_ref(part) for part in parts if part["kind"] != "model" and part["name"] in names]


def _properties(values: Mapping[str, Any]) -> list[dict[str, str]]:
    return [{"name": f"cai:{k}", "value": str(v)} for k, v in values.items() if v is not None]


def _part(part: dict[str, Any], parts: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """What the bill is of: a model with its card, or the data of a run."""
    if part["kind"] == "run":
        return _data(part)
    if part["kind"] == "file":
        return _file(part)
    base = part["base"]
    weights = {p: sha for p, sha in part["files"].items() if p.endswith(".safetensors")}
    runs = [{"ref": ref} for ref in _data_refs(part, parts)]
    about = {"method": part["method"], "base": base.get("identity"), "template": part["template"]}
    return {
        "type": "machine-learning-model",
        "bom-ref": _ref(part),
        "name": part["name"],
        "properties": _properties({**about, **{f"sha256:{p}": s for p, s in weights.items()}}),
        "modelCard": {
            "modelParameters": {
                "approach": {"type": "supervised"},
                "task": "text-generation",
                "architectureFamily": "transformer",
                **({"datasets": runs} if runs else {}),
            },
            "considerations": {
                "technicalLimitations": [
                    "Trained on texts that a language model made; nobody has read them all."
                ]
            },
        },
    }


def _data(part: dict[str, Any]) -> dict[str, Any]:
    licences = [name for name in part["licences"] if name != UNKNOWN]
    kinds = list(part["personal"]["rows"])
    inside = {
        "type": "dataset",
        "name": part["name"],
        "description": ", ".join(f"{n} rows of {name}" for name, n in part["rows"].items())
        or "no rows",
        **({"sensitiveData": kinds} if kinds else {}),
    }
    files = {p: s for p, s in part["files"].items() if p.endswith(".parquet")}
    return {
        "type": "data",
        "bom-ref": _ref(part),
        "name": part["name"],
        "data": [inside],
        **({"licenses": [{"license": {"name": name}} for name in licences]} if licences else {}),
        "properties": _properties({f"sha256:{p}": s for p, s in files.items()}),
    }


def _file(part: dict[str, Any]) -> dict[str, Any]:
    properties = _properties({f"sha256:{p}": sha for p, sha in part["files"].items()})
    inside = {"type": "dataset", "name": part["name"], "description": "rows of another source"}
    named = {"type": "data", "bom-ref": _ref(part), "name": part["name"]}
    return {**named, "data": [inside], "properties": properties}


def _materials(part: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """What a part was made of: models, the constitution, packages."""
    if part["kind"] == "file":
        return
    models = part["models"] if part["kind"] == "run" else {"base": part["base"]}
    roles: dict[str, list[str]] = {}
    for role, model in models.items():
        roles.setdefault(model["identity"], []).append(role)
    for identity, names in roles.items():
        first = models[names[0]]
        yield {
            "type": "machine-learning-model",
            "bom-ref": f"weights:{identity}",
            "name": first["name"] or identity,
            **_hashes(identity),
            "properties": _properties({"identity": identity, "roles": ", ".join(sorted(names))}),
        }
    if part["kind"] == "run":
        sha = part["constitution"].get("digest", "")
        yield {
            "type": "data",
            "bom-ref": f"constitution:{sha}",
            "name": part["constitution"].get("name") or "constitution",
            **_hashes(sha),
            "data": [{"type": "configuration", "name": "constitution"}],
        }
    for name, version in part["packages"].items():
        purl = f"pkg:{'generic' if name == 'python' else 'pypi'}/{name}@{version}"
        yield {
            "type": "platform" if name == "python" else "library",
            "bom-ref": purl,
            "name": name,
            "version": version,
            "purl": purl,
        }


def _hashes(value: str) -> dict[str, Any]:
    """A digest as the format wants it, where it is one."""
    whole = _SHA.fullmatch(value)
    return {"hashes": [{"alg": "SHA-256", "content": value}]} if whole else {}
