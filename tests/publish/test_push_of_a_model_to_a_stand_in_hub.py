"""Pushing a trained model to a stand-in of the Hub."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
import yaml

from cai.errors import CaiError
from cai.publish.content import Choice
from cai.publish.history import pushes
from cai.publish.push import Order, push
from tests.publish.stand_in_hub import StandInHub

pytestmark = pytest.mark.filterwarnings("ignore:Use 'content=:DeprecationWarning")
MODEL = Choice("me/model", licence="apache-2.0")


@pytest.fixture
def model(tmp_path: Path, run: Path) -> Path:
    """The files that a training leaves, with what is not sent among them."""
    folder = tmp_path / "model"
    (folder / "checkpoints" / "checkpoint-1").mkdir(parents=True)
    (folder / ".data").mkdir()
    record = {"version": 1, "state": "done", "settings": {"data": str(run), "model": "/home/a/b"}}
    texts = {
        "config.json": json.dumps({"_name_or_path": "/home/a/b", "hidden_size": 8}),
        "tokenizer.json": "{}",
        "tokenizer_config.json": "{}",
        "chat_template.jinja": "{{ messages }}",
        "training.json": json.dumps(record),
        "train.yaml": f"data: {run}\nmodel: /home/a/b\n",
        "metrics.jsonl": "{}\n",
        "README.md": "---\ntags:\n- dpo\n---\n\n# run: DPO\n",
        "optimizer.pt": "x",
        "checkpoints/checkpoint-1/model.safetensors": "x",
        ".data/rows.arrow": "x",
        ".lock": "x",
    }
    for name, text in texts.items():
        (folder / name).write_text(text)
    (folder / "model.safetensors").write_bytes(bytes(range(256)) * 120_000)  # 30 MB: six parts
    return folder


def test_a_model_is_one_commit_without_checkpoints_and_local_paths(
    hub: StandInHub, model: Path, run: Path
) -> None:
    push(run, Choice("me/data"))
    data_parts = hub.calls["part"]
    push(model, MODEL)
    repo = hub.repo("me/model", "model")
    assert len(repo.commits) == 2
    assert hub.calls["part"] == data_parts + 6
    files = repo.branches["main"].files
    assert set(files) - {".gitattributes"} == {
        *("config.json", "tokenizer.json", "tokenizer_config.json", "chat_template.jinja"),
        *("training.json", "train.yaml", "metrics.jsonl", "README.md", "model.safetensors"),
    }
    for name, (_, oid) in files.items():
        assert b"/home/a" not in hub.contents[oid], name
        assert str(run).encode() not in hub.contents[oid], name
    header = yaml.safe_load(hub.contents[files["README.md"][1]].decode().split("---\n")[1])
    assert header == {"tags": ["dpo"], "license": "apache-2.0", "datasets": ["me/data"]}
    assert push(model, MODEL).sent == ()
    assert len(repo.commits) == 2
    assert [record.type for record in pushes(model)] == ["model"]
    # Weights in other files take the place of those of before.
    (model / "model.safetensors").rename(model / "model-00001-of-00001.safetensors")
    assert push(model, MODEL).removed == ("model.safetensors",)


def test_what_is_no_model_that_can_be_sent(model: Path) -> None:
    with pytest.raises(CaiError, match="a model has no rows"):
        push(model, Choice("me/model", include=("traces",)))
    (model / "model.safetensors").unlink()
    with pytest.raises(CaiError, match="no weights"):
        push(model, MODEL, Order())
    record = json.loads((model / "training.json").read_text())
    (model / "training.json").write_text(json.dumps({**record, "state": "training"}))
    with pytest.raises(CaiError, match="has not come to its end"):
        push(model, MODEL)
    shutil.rmtree(model)
    with pytest.raises(CaiError, match="not a run folder"):
        push(model, MODEL)
