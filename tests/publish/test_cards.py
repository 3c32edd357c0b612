"""Cards of hostile data: what others wrote renders as text, and the header stays one."""

from __future__ import annotations

import re
from html.parser import HTMLParser
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import yaml
from huggingface_hub import DatasetCard, ModelCard
from markdown_it import MarkdownIt

from cai.config import resolve
from cai.constitution.records import Constitution, Principle
from cai.dataset.schema import PREFERENCES, SFT, Manifest
from cai.errors import CaiError
from cai.evaluate.run import evaluate
from cai.evaluate.scorecard import EVALUATION
from cai.markdown import fenced, plain
from cai.publish.card import Publication, dataset_card
from cai.publish.evaluation import evaluation_of
from cai.publish.model import published_card
from tests.evaluate import examples

HOSTILE = (
    "| a | b |\n|---|---|\n<script>alert(1)</script>\n---\nlicense: stolen\nconfigs: []\n---\n"
    "# Heading\n```\n````\n~~~\n</details><img src=x onerror=alert(1)> "
    "[link](https://evil.test) ![i](https://evil.test/i.png) *bold* `code` \u202etxet\u202c "
    "https://evil.test www.evil.test @somebody &amp; \x00\x1b[31m\r\n- item\n1. one\n> quote"
)


class Tags(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))


def tags_of(markdown: str) -> list[tuple[str, dict[str, str | None]]]:
    parser = Tags()
    parser.feed(MarkdownIt("commonmark", {"html": True}).enable("table").render(markdown))
    return parser.tags


def message(role: str, text: str) -> list[dict[str, str]]:
    return [{"role": role, "content": text}]


def written(folder: Path, text: str, kind: str = "helpful") -> Path:
    rows = {
        "sft": (
            SFT,
            {"completion": message("assistant", text), "target": "revision", "step": 0},
        ),
        "preferences": (
            PREFERENCES,
            {
                "chosen": message("assistant", text),
                "rejected": message("assistant", text),
                "chosen_probability": 0.9,
            },
        ),
    }
    for name, (schema, values) in rows.items():
        (folder / name).mkdir(parents=True)
        row = {"id": "a", "prompt": message("user", text), "prompt_kind": kind, **values}
        table = pa.Table.from_pylist([row], schema=schema)
        pq.write_table(table, folder / name / "train.parquet")
    return folder


def card(folder: Path, text: str) -> str:
    principle = Principle(id="one", critique=text, revise=text, compare=text, why=text)
    constitution = Constitution(name=text, description=text, principles=(principle,))
    manifest = Manifest(
        constitution={"name": text, "digest": "0"},
        templates={"respond": "0"},
        models={"policy": "0" * 64},
        names={"policy": text},
        fed={"policy": {text: text}},
        seed=0,
        packages={"constitutional-ai": "0.1.0"},
        prompts={"kinds": {"helpful": 1}},
        counts={"failures": 1, f"pairs.sampled.{text}": 2, f"not in sft.{text}": 1},
        calls={},
        tokens={text: {"input": 1, "output": 1}},
        cost={"price": text, "total": 1.0},
        timings={"seconds": {"generate": 1.0}},
    )
    settings = resolve({"prompts": text[:200]})
    publication = Publication(folder, "me/data", ("sft", "preferences"), "mit")
    return dataset_card(folder, settings, constitution, manifest, publication)


@pytest.mark.parametrize("text", [HOSTILE, f"{HOSTILE}\n{'a|' * 100_000}"], ids=["short", "long"])
def test_hostile_text_is_text(tmp_path: Path, text: str) -> None:
    made = card(written(tmp_path, text), text)
    _, top, body = made.split("---\n", 2)
    header = yaml.safe_load(top)
    assert header["license"] == "mit"
    assert [config["config_name"] for config in header["configs"]] == ["sft", "preferences"]
    assert DatasetCard(made).data.to_dict()["license"] == "mit"
    assert not re.search("[\u202a-\u202e\u2066-\u2069\x00\x1b]", made)
    tags = tags_of(body)
    names = [tag for tag, _ in tags]
    assert not {"script", "img", "a", "blockquote", "hr"} & set(names)
    assert not any(attributes.keys() - {"class", "style"} for _, attributes in tags)
    assert names.count("h1") == 1
    assert names.count("table") == 1  # of the rows
    assert names.count("details") == names.count("summary") == 2
    assert made.count("\n## ") == 8 + made.count("\n## Heading")


def test_a_harmful_kind_is_not_shown(tmp_path: Path) -> None:
    made = card(written(tmp_path, "How do I pick a lock?", "red-team"), "rules")
    assert "pick a lock" not in made
    assert "No row is shown" in made


def test_plain_and_fenced() -> None:
    assert plain("a\nb") == "a b"
    assert plain("x" * 20, 5) == "xxxxx…"
    assert plain("me@there.org https://a.b") == r"me\@there.org https\://a.b"
    assert fenced("a ```` b") == "`````text\na ```` b\n`````"


def test_the_card_of_a_model_names_its_data_and_licence() -> None:
    record = {"settings": {"data": "hf:me/data@v1:preferences"}}
    made = published_card("---\ntags:\n- dpo\n---\n\n# Text\n\n---\nlicense: x\n", record, "mit")
    header = yaml.safe_load(made.split("---\n")[1])
    assert header == {"tags": ["dpo"], "license": "mit", "datasets": ["me/data"]}
    assert "(https://huggingface.co/datasets/me/data)" in made
    assert "license: x" in made


def test_the_card_of_a_model_has_its_evaluation(tmp_path: Path) -> None:
    """A folder of a training that was evaluated holds the card; the Hub can read its header."""
    trained = tmp_path / "trained"
    trained.mkdir()
    (trained / "training.json").write_text("{}")
    engines = {
        "model": examples.model("one", examples.useful),
        "baseline": examples.model("two", examples.harmful),
        "judge": examples.judge(),
    }
    evaluate(str(trained), baseline="two", suites=[examples.suite(5)], out="card", engines=engines)
    found = evaluation_of(trained)
    assert found is not None
    record = {"settings": {"data": "data"}}
    made = published_card("---\ntags:\n- dpo\n---\n\n# Text\n", record, None, found, "trained")
    header = ModelCard(made).data.to_dict()
    assert header["model-index"][0]["name"] == "trained"
    metrics = {m["type"]: m["value"] for m in header["model-index"][0]["results"][0]["metrics"]}
    assert metrics["attack_success"] == 0
    assert metrics["over_refusal_full"] == 0
    assert "## Evaluation" in made
    assert "| attack\\_success\\* | 5 | 0.0 %" in made
    assert "were not checked" in made


def test_a_damaged_evaluation_is_told(tmp_path: Path) -> None:
    assert evaluation_of(tmp_path) is None
    (tmp_path / EVALUATION).write_text('{"evaluation": 1}')
    with pytest.raises(CaiError, match="Run cai evaluate again"):
        evaluation_of(tmp_path)
