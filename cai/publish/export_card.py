"""README.md of an export: what the files are, what they do not say, how the tool reads them."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from cai.constitution.yaml_file import dumped
from cai.dataset.run import Run
from cai.files import file_digest
from cai.markdown import plain
from cai.publish.formats.records import Format, Tables

CARD = "README.md"
WRITTEN_BY = "Written by `cai export"


def export_card(run: Run, form: Format, tables: Tables, lost: Sequence[str], folder: Path) -> str:
    """The account, with a YAML header by which `load_dataset` finds the configs and splits.

    Args:
        run: Where the rows come from.
        form: Their form.
        tables: The files; paths in the text begin with the folder as the user named it.
        lost: Sentences.
        folder: Where the files lie while this is written.
    """
    manifest = run.manifest
    name = manifest.constitution.get("name", "a constitution")
    files = "\n".join(
        f"| `{t.path}` | {t.dataset} | {t.split} | {t.rows:,} |" for t in tables.tables
    )
    losses = "\n".join(f"- {sentence}" for sentence in lost)
    return f"""---
{dumped(_header(tables, folder))}---

# {plain(name)}, for {form.name}

{WRITTEN_BY} --format {form.name}` (cai {manifest.packages["constitutional-ai"]}):
{form.words}.

| file | dataset | split | rows |
|---|---|---|---:|
{files}

## What is not in it

{losses}

Texts are a language model's, and nobody has checked the rows one by one. A rejected answer to a
prompt that asks for harm may give it.

## How it is read

Paths begin in the folder in which `cai export` was called.{_without_train(tables)}

{form.usage(tables)}

The form is that of {form.source}.
"""


def _without_train(tables: Tables) -> str:
    datasets = dict.fromkeys(table.dataset for table in tables.tables)
    names = [name for name in datasets if "train" not in tables.paths(name)]
    if not names:
        return ""
    return f" There are no train rows of {' and '.join(names)} here: name your own beside these."


def _header(tables: Tables, folder: Path) -> dict[str, Any]:
    configs = []
    for config in dict.fromkeys(table.config for table in tables.tables):
        files = [table for table in tables.tables if table.config == config]
        # `datasets` keeps a copy by path and header; the digests make it notice new content.
        digests = ", ".join(file_digest(folder / table.path)[:16] for table in files)
        configs.append(
            {
                "config_name": config,
                "description": f"sha256 {digests}",
                "data_files": [{"split": table.name, "path": table.path} for table in files],
            }
        )
    return {"tags": ["constitutional-ai", "synthetic"], "configs": configs}
