"""The run's own columns, in files that every tool reads."""

from __future__ import annotations

from cai.publish.formats.records import Format, Shape, Tables
from cai.publish.formats.rows import as_it_is, code

_JSON = "https://huggingface.co/docs/datasets/loading (datasets 5.2)"


def _usage(tables: Tables) -> str:
    folder = tables.folder.as_posix()
    configs = dict.fromkeys(table.config for table in tables.tables)
    lines = [f"{config} = load_dataset({folder!r}, {config!r})" for config in configs]
    return code("python", "\n".join(["from datasets import load_dataset", "", *lines]))


def _usage_of_json(tables: Tables) -> str:
    return f"""A line is a row, in UTF-8.

{_usage(tables)}

`datasets` guesses the types of a JSON file: a column whose texts are all dates (`2024-01-01`)
is read as times. The format `parquet` has the types written in it."""


JSONL = Format(
    name="jsonl",
    words="the columns of the run, a row per line",
    source=_JSON,
    shapes={
        "sft": Shape("sft/{split}.jsonl", as_it_is),
        "preferences": Shape("preferences/{split}.jsonl", as_it_is),
    },
    usage=_usage_of_json,
)
PARQUET = Format(
    name="parquet",
    words="the columns of the run, with their types",
    source=_JSON,
    shapes={
        "sft": Shape("sft/{split}.parquet", as_it_is),
        "preferences": Shape("preferences/{split}.parquet", as_it_is),
    },
    usage=_usage,
)
