"""croissant.json: responsible-AI and provenance fields of a dataset, as JSON-LD.

The Hub makes Croissant's core (columns and splits) itself. This file has what it cannot know, in
the vocabularies Croissant RAI 1.0 (MLCommons) and PROV-O (W3C), beside the files by digest.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from cai.constitution.records import Constitution
from cai.dataset.schema import Manifest
from cai.files import file_digest
from cai.markdown import visible
from cai.publish.header import ROWS_ARE, hub_name

CROISSANT = "croissant.json"
# The context of Croissant 1.0, which its validator wants whole, and PROV-O.
_TERMS = (
    *("citeAs", "column", "equivalentProperty", "extract", "field", "fileProperty", "fileObject"),
    *("fileSet", "format", "includes", "isLiveDataset", "jsonPath", "key", "md5", "parentField"),
    *("path", "recordSet", "references", "regex", "repeated", "replace", "samplingRate"),
    *("separator", "source", "subField", "transform"),
)
_CONTEXT = {
    "@language": "en",
    "@vocab": "https://schema.org/",
    "sc": "https://schema.org/",
    "cr": "http://mlcommons.org/croissant/",
    "rai": "http://mlcommons.org/croissant/RAI/",
    "dct": "http://purl.org/dc/terms/",
    "prov": "http://www.w3.org/ns/prov#",
    "conformsTo": "dct:conformsTo",
    "data": {"@id": "cr:data", "@type": "@json"},
    "dataType": {"@id": "cr:dataType", "@type": "@vocab"},
    "examples": {"@id": "cr:examples", "@type": "@json"},
    **{term: f"cr:{term}" for term in _TERMS},
}
_CITATION = "Bai et al. 2022, Constitutional AI: Harmlessness from AI Feedback, arXiv:2212.08073"


def croissant(
    folder: Path,
    repo: str,
    constitution: Constitution,
    manifest: Manifest,
    *,
    licence: str | None = None,
) -> str:
    """The document, with keys in a fixed order.

    Args:
        folder: Where the datasets stand that are sent.
        repo: Under which name they will be found.
        constitution: Its name, and its digest as the manifest has it.
        manifest: Models, counts and the time of the run.
        licence: The Hub's name of a licence.
    """
    data = {
        "@context": _CONTEXT,
        "@type": "sc:Dataset",
        "name": repo.rpartition("/")[2],
        "description": f"Made by a constitution ({_line(constitution.name)}): prompts, revised "
        "answers and labelled pairs, all answers written by language models.",
        "conformsTo": [
            "http://mlcommons.org/croissant/1.0",
            "http://mlcommons.org/croissant/RAI/1.0",
        ],
        "citeAs": _CITATION,
        "datePublished": str(manifest.timings.get("started", ""))[:10],
        **({"license": licence} if licence else {}),
        "url": f"https://huggingface.co/datasets/{repo}",
        "version": "1.0.0",
        **_responsible(manifest),
        **_provenance(constitution, manifest),
        "distribution": [_file(folder, path) for path in sorted(folder.glob("*/*.parquet"))],
    }
    return json.dumps(data, indent=2, ensure_ascii=False) + "\n"


def _line(text: str) -> str:
    return " ".join(visible(text).split())[:200]


def _file(folder: Path, path: Path) -> dict[str, str]:
    name = path.relative_to(folder).as_posix()
    return {
        "@type": "cr:FileObject",
        "@id": name,
        "name": name,
        "description": ROWS_ARE[path.parent.name],
        "contentUrl": name,
        "encodingFormat": "application/x-parquet",
        "sha256": file_digest(path),
    }


def _responsible(manifest: Manifest) -> dict[str, Any]:
    counts = manifest.counts
    return {
        "rai:dataCollection": "Prompts come from a person or a file; a language model answers, "
        "criticises its answer by principles of a constitution and rewrites it.",
        "rai:dataCollectionType": ["Synthetic data", "Machine-generated"],
        "rai:dataCollectionMissingData": f"{counts.get('failures', 0)} prompts gave no row; the "
        "card has the reasons.",
        "rai:dataPreprocessingProtocol": "Prompts that are the same are taken once; revisions that "
        "are no answer are dropped; no prompt stands in two splits.",
        "rai:dataAnnotationProtocol": "A judge, which is a program or a language model, compares "
        "two answers by principles of the constitution, in both orders.",
        "rai:machineAnnotationTools": [f"cai {manifest.packages['constitutional-ai']}"],
        "rai:personalSensitiveInformation": "E-mail addresses, phone numbers, payment cards, IBANs "
        "and keys were looked for by their form before publication; names and street addresses "
        "cannot be found so.",
        "rai:dataBiases": "The texts have the habits of the models that wrote them, and lean to "
        "what the constitution and the judge prefer.",
        "rai:dataLimitations": "Nobody has checked the rows one by one. Rejected texts of red-team "
        "prompts may be harmful.",
        "rai:dataSocialImpact": "A model that learns the chosen texts takes on what the "
        "constitution asks for; one that learns the rejected texts may do harm.",
        "rai:dataUseCases": "Supervised fine-tuning, and preference training such as DPO.",
    }


def _provenance(constitution: Constitution, manifest: Manifest) -> dict[str, Any]:
    models: Mapping[str, str] = manifest.models
    entities = {}
    for role, identity in models.items():
        name = manifest.names.get(role, "")
        entity: dict[str, str] = {"@type": "prov:Entity", "identifier": identity}
        if name:
            entity["name"] = _line(name)
        if hub := hub_name(name):
            entity["url"] = f"https://huggingface.co/{hub}"
        entities[identity] = entity
    plan = {
        "@type": "prov:Plan",
        "name": _line(constitution.name),
        "identifier": manifest.constitution.get("digest", ""),
    }
    activity = {
        "@type": "prov:Activity",
        "name": "cai generate",
        "prov:used": [*entities.values(), plan],
    }
    if started := manifest.timings.get("started"):
        activity["prov:startedAtTime"] = str(started)
    return {"prov:wasGeneratedBy": activity}
