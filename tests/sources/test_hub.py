"""Datasets of the Hub, by way of a local folder."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from cai.errors import CaiError
from cai.sources.hub import HubSpec, hub_rows, hub_spec, hub_splits


@pytest.fixture
def dataset(tmp_path: Path) -> Path:
    """A dataset with two configs, neither of them the default."""
    for name in ("plain", "hard"):
        (tmp_path / f"{name}.jsonl").write_text(json.dumps({"prompt": name, "other": 1}) + "\n")
    (tmp_path / "README.md").write_text(
        "---\nconfigs:\n- config_name: plain\n  data_files: plain.jsonl\n"
        "- config_name: hard\n  data_files: hard.jsonl\n---\n"
    )
    return tmp_path


def test_the_parts_of_a_name(tmp_path: Path) -> None:
    assert hub_spec("hf:o/n") == HubSpec("o/n", None, None, None, None)
    assert hub_spec("hf:o/n@v1:c:s:col") == HubSpec("o/n", "v1", "c", "s", "col")
    odd = tmp_path / "with@sign"
    odd.mkdir()
    assert hub_spec(f"hf:{odd}::test") == HubSpec(str(odd), None, None, "test", None)
    for name in ("hf:", "hf:a:b:c:d:e"):
        with pytest.raises(CaiError, match="not the name of a dataset"):
            hub_spec(name)


def test_the_configs_are_named_where_one_is_needed(dataset: Path) -> None:
    source = f"hf:{dataset}"
    for read in (
        lambda: list(hub_rows(source, lambda names, where: names)),
        lambda: hub_splits(source, "sft"),
    ):
        with pytest.raises(CaiError) as caught:
            read()
        assert "'plain'" in caught.value.message
        assert "'hard'" in caught.value.message
        assert "\n" not in caught.value.message
        assert "[:config]" in caught.value.hint


def test_rows_and_splits_of_a_config(dataset: Path) -> None:
    source = f"hf:{dataset}:hard"
    assert list(hub_rows(source, lambda names, where: ["prompt"])) == [
        (f"{source}: row 1", {"prompt": "hard"})
    ]
    assert list(hub_splits(source, "sft")) == ["train"]
    preferred = hub_splits(f"hf:{dataset}", "plain")
    assert preferred["train"][0]["prompt"] == "plain"
