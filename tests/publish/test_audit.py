"""An audit: every row is traced, the bytes are the same again, and a change is found."""

from __future__ import annotations

import hashlib
import json
import shutil
import struct
from importlib import resources
from pathlib import Path
from typing import Any

import jsonschema
import pyarrow.parquet as pq
import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st
from referencing import Registry, Resource

import cai
from cai.checks.of_run import checks_of_run
from cai.engines.scripted import ScriptedEngine
from cai.errors import CaiError
from cai.publish.audit.canonical import canonical
from cai.publish.audit.document import audit, verify
from cai.publish.audit.rows import UNKNOWN
from cai.publish.audit.training_content import OPEN

HOSTILE = "a|b <script>x</script> # [l](http://x) `c`\n---\n\u202e"


@pytest.fixture
def run(tmp_path: Path) -> Path:
    rules = {
        "name": "rules",
        "version": 1,
        "principles": [
            {"id": f"p{n}", "critique": f"Look at {n}.", "revise": f"Mend {n}.", "compare": "Best?"}
            for n in range(3)
        ],
    }
    Path("rules.yaml").write_text(yaml.safe_dump(rules))
    rows = [
        {"id": f"q{i}", "prompt": f"Question {i}?", "kind": "borderline", "source": "s1"}
        for i in range(12)
    ]
    rows[3] |= {"licence": "CC-BY-4.0", "source": HOSTILE}
    rows[4] |= {"prompt": "Write to jane.doe@acme-mail.org please."}
    Path("p.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    stages = ("sft", "preferences")
    named = {"constitution": "rules.yaml", "prompts": "p.jsonl", "out": "run", "stages": stages}
    return cai.generate(**named, engine=ScriptedEngine(), test_share=0.3).folder


def trained(folder: Path, run: Path, base: str = "default") -> Path:
    """A folder as cai train leaves it, without a training."""
    folder.mkdir()
    (folder / "model.safetensors").write_bytes(b"weights")
    (folder / "evaluation.json").write_text('{"harm": {"value": 0.1, "n": 20}, "text": "no"}')
    sft = run / "sft/train.parquet"
    record = {
        "version": 1,
        "state": "done",
        "method": "sft",
        "settings": {"data": run.name, "model": base, "seed": 0, "learning_rate": 1e-4},
        "base": {"name": base, "identity": "ab" * 32},
        "template": "cd" * 32,
        "packages": {"torch": "2.8"},
        "steps": 3,
        "data": {
            "sources": [{"read": 9, "kept": 8, "cut": 0, "dropped": {"duplicate": 1}}],
            "files": {str(sft): hashlib.sha256(sft.read_bytes()).hexdigest()},
            "rows_digest": "ef" * 32,
        },
    }
    (folder / "training.json").write_text(json.dumps(record))
    return folder


def lines(out: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (out / "rows.jsonl").read_text().splitlines()]


def test_every_published_row_is_traced(run: Path) -> None:
    written = audit(run, Path("audit"), checks_of_run)
    traced = {(line["dataset"], line["id"]): line for line in lines(Path("audit"))}
    published = [
        (dataset, row["id"])
        for dataset in ("sft", "preferences")
        for split in ("train", "test")
        if (run / dataset / f"{split}.parquet").is_file()
        for row in pq.read_table(run / dataset / f"{split}.parquet").to_pylist()
    ]
    assert set(traced) == set(published)
    assert len(traced) == len(published) > 10
    one = traced["sft", "q3"]
    assert one["prompt"]["licence"] == "CC-BY-4.0"
    assert one["prompt"]["source"] == HOSTILE
    assert one["principle_ids"][0] in {"p0", "p1", "p2"}
    assert len(one["digest"]) == len(one["prompt"]["digest"]) == 64
    assert traced["sft", "q4"]["personal"]["e-mail address"] >= 1
    (part,) = written.document["parts"]
    assert part["licences"]["CC-BY-4.0"] >= 1
    assert part["licences"][UNKNOWN] > 5
    assert part["personal"]["rows"]["e-mail address"] >= 1
    assert part["gates"]
    assert part["checks"]["judge"]["check"] is None
    assert sum(part["rows"].values()) == len(published)
    assert (Path("audit") / "audit.json").read_bytes() == canonical(written.document)


def test_no_text_is_copied_and_what_others_wrote_is_escaped(run: Path) -> None:
    audit(run, Path("audit"), checks_of_run)
    for path in Path("audit").iterdir():
        text = path.read_text()
        assert "Question 1" not in text
        assert "jane.doe" not in text
    page = Path("audit/audit.md").read_text()
    assert "<script>" not in page
    assert "a\\|b" in page
    assert all(line.count("](") == 0 for line in page.splitlines())
    assert "\n---\n" not in page
    assert "\u202e" not in page


def test_the_same_again_is_the_same_bytes_and_a_change_is_found(run: Path) -> None:
    out = Path("audit")
    audit(run, out, checks_of_run)
    before = {path.name: path.read_bytes() for path in out.iterdir()}
    assert not verify(run, out).any
    audit(run, out, checks_of_run)
    assert {path.name: path.read_bytes() for path in out.iterdir()} == before
    (run / "README.md").write_text("edited")
    (run / "failures.jsonl").unlink()
    (run / "more.txt").write_text("new")
    (out / "rows.jsonl").write_text("")
    changes = verify(run, out)
    assert changes.changed == ["audit/rows.jsonl", "run/README.md"]
    assert changes.missing == ["run/failures.jsonl"]
    assert changes.new == ["run/more.txt"]
    document = json.loads((out / "audit.json").read_text())
    (out / "audit.json").write_text(json.dumps(document))
    with pytest.raises(CaiError, match="edited by hand"):
        verify(run, out)


def test_an_audit_inside_the_folder_is_not_of_itself(run: Path) -> None:
    audit(run, run / "audit", checks_of_run)
    audit(run, run / "audit", checks_of_run)
    assert not verify(run, run / "audit").any


def test_a_model_is_traced_to_its_base_and_its_run(run: Path) -> None:
    trained(Path("m1"), run)
    trained(Path("m2"), run, base="m1")
    written = audit(Path("m2"), Path("audit"), checks_of_run)
    parts = {part["name"]: part for part in written.document["parts"]}
    assert list(parts) == ["m2", "m1", "run"]
    (data,) = parts["m2"]["data"]["sources"]
    assert (data["name"], data["here"], data["same"]) == ("run", True, True)
    (evaluation,) = parts["m2"]["evaluations"]
    assert evaluation["figures"] == {"harm.value": 0.1, "harm.n": 20}
    (Path("m2") / "model.safetensors").write_bytes(b"others")
    assert verify(Path("m2"), Path("audit")).changed == ["m2/model.safetensors"]


def test_a_model_whose_data_is_elsewhere_says_so(run: Path) -> None:
    model = trained(Path("m1"), run)
    run.rename("moved")
    written = audit(model, Path("audit"), checks_of_run)
    (part,) = written.document["parts"]
    assert [(s["name"], s["here"]) for s in part["data"]["sources"]] == [("run", False)]
    assert (Path("audit") / "rows.jsonl").read_text() == ""


def test_all_data_of_a_training_is_followed(run: Path) -> None:
    model = trained(Path("m1"), run)
    Path("more.jsonl").write_text('{"prompt": "a", "completion": "b"}\n')
    Path("copies").mkdir()
    run_2 = Path("copies/run")
    shutil.copytree(run, run_2)
    record = json.loads((model / "training.json").read_text())
    Path("old.jsonl").write_text("{}\n")  # of which the training kept no digest
    names = ["more.jsonl", str(run_2), "/home/me/gone.jsonl", "old.jsonl"]
    record["settings"]["mix"] = [f"{name}=0.5" for name in names]
    record["data"]["sources"] += [
        {"origin": name, "read": 5, "kept": number, "cut": 0, "dropped": {}}
        for number, name in enumerate(names, 1)
    ]
    files = record["data"]["files"]
    (sft,) = files
    files |= {f"run/{Path(sft).parent.name}/train.parquet": files.pop(sft)}
    files["more.jsonl"] = hashlib.sha256(Path("more.jsonl").read_bytes()).hexdigest()
    files["copies/run/sft/train.parquet"] = "00" * 32
    (model / "training.json").write_text(json.dumps(record))
    document = audit(model, Path("audit"), checks_of_run).document
    parts = {part["name"]: part for part in document["parts"]}
    assert [(name, part["kind"]) for name, part in parts.items()] == [
        *(("m1", "model"), ("run", "run"), ("more.jsonl", "file"), ("run-2", "run")),
        ("old.jsonl", "file"),
    ]
    assert [
        (s["name"], s["here"], s["same"], s["kept"]) for s in parts["m1"]["data"]["sources"]
    ] == [
        ("run", True, True, 8),
        ("more.jsonl", True, True, 1),
        ("run-2", True, False, 2),
        ("gone.jsonl", False, None, 3),
        ("old.jsonl", True, None, 4),
    ]
    assert {line["run"] for line in lines(Path("audit"))} == {"run", "run-2"}
    content = {section["number"]: section for section in document["training_content"]}
    assert content["2.6"]["known"] == [
        "1 rows of more.jsonl were trained on.",
        "3 rows of gone.jsonl were trained on.",
        "4 rows of old.jsonl were trained on.",
    ]
    bill = json.loads(Path("audit/bom.json").read_text())
    validator().validate(bill)
    needs = {d["ref"]: d["dependsOn"] for d in bill["dependencies"]}
    assert {"run:run", "run:run-2", "file:more.jsonl"} < set(needs["model:m1"])
    page = Path("audit/audit.md").read_text()
    assert "| run-2 | 5 | 2 | audited below, with other files now |" in page
    assert "/home/me" not in page
    assert not verify(model, Path("audit")).any
    Path("more.jsonl").write_text("")
    assert verify(model, Path("audit")).changed == ["more.jsonl/more.jsonl"]


def test_the_bill_of_materials_is_cyclonedx(run: Path) -> None:
    trained(Path("m1"), run)
    for source in (run, Path("m1")):
        audit(source, Path("audit"), checks_of_run)
        bill = json.loads(Path("audit/bom.json").read_text())
        validator().validate(bill)
        refs = [c["bom-ref"] for c in (*bill["components"], bill["metadata"]["component"])]
        assert len(refs) == len(set(refs))
        assert {ref for d in bill["dependencies"] for ref in d["dependsOn"]} <= set(refs)
    bill["components"][0]["type"] = "weights"
    with pytest.raises(jsonschema.ValidationError):
        validator().validate(bill)


def validator() -> jsonschema.Draft7Validator:
    """The official schema, which cyclonedx-python-lib carries."""
    folder = resources.files("cyclonedx.schema") / "_res"
    names = ("bom-1.6", "spdx", "jsf-0.82")
    schemas = [json.loads((folder / f"{n}.SNAPSHOT.schema.json").read_text()) for n in names]
    registry: Any = Registry().with_resources(
        (schema["$id"], Resource.from_contents(schema)) for schema in schemas
    )
    return jsonschema.Draft7Validator(schemas[0], registry=registry)


def test_the_summary_says_what_is_known_and_leaves_the_rest_open(run: Path) -> None:
    content = audit(run, Path("audit"), checks_of_run).document["training_content"]
    by_number = {section["number"]: section for section in content}
    assert list(by_number) == [
        *("1", "1.1", "1.2", "1.3", "2", "2.1", "2.2", "2.2.1", "2.2.2", "2.3", "2.4", "2.5"),
        *("2.6", "3", "3.1", "3.2", "3.3"),
    ]
    assert by_number["1.1"]["known"] == by_number["2.2"]["known"] == by_number["2.2"]["open"] == []
    lines = Path("audit/audit.md").read_text().splitlines()
    under = lines.index(f"### 2.2 {by_number['2.2']['heading']}") + 2
    assert lines[under].startswith("### 2.2.1 Datasets commercially licensed")
    assert any("scripted" in line for line in by_number["2.5"]["known"])
    assert "e-mail address" in by_number["3.3"]["known"][0]
    assert OPEN in Path("audit/audit.md").read_text()


def test_a_folder_of_something_else_is_refused(tmp_path: Path) -> None:
    with pytest.raises(CaiError, match="neither a finished run nor a trained model"):
        audit(tmp_path, Path("audit"), checks_of_run)
    with pytest.raises(CaiError, match="neither"):
        verify(tmp_path, Path("audit"))


# --- canonical JSON: the examples of RFC 8785, section 3.2 and appendix B ---


def test_the_example_of_the_standard() -> None:
    value = {
        "numbers": [333333333.33333329, 1e30, 4.50, 2e-3, 0.000000000000000000000000001],
        "string": '€$\x0f\nA\'B"\\\\"/',
        "literals": [None, True, False],
    }
    assert canonical(value).decode() == (
        '{"literals":[null,true,false],"numbers":[333333333.3333333,1e+30,4.5,0.002,1e-27],'
        '"string":"€$\\u000f\\nA\'B\\"\\\\\\\\\\"/"}'
    )


def test_keys_stand_in_the_order_of_utf_16() -> None:
    keys = ["\u20ac", "\r", "\ufb33", "1", "\U0001f600", "\x80", "\xf6"]
    ordered = list(json.loads(canonical(dict.fromkeys(keys, 0))))
    assert ordered == ["\r", "1", "\x80", "\xf6", "\u20ac", "\U0001f600", "\ufb33"]


@pytest.mark.parametrize(
    ("bits", "text"),
    [
        ("0000000000000000", "0"),
        ("8000000000000000", "0"),
        ("0000000000000001", "5e-324"),
        ("7fefffffffffffff", "1.7976931348623157e+308"),
        ("4340000000000000", "9007199254740992"),
        ("4430000000000000", "295147905179352830000"),
        ("44b52d02c7e14af5", "9.999999999999997e+22"),
        ("44b52d02c7e14af6", "1e+23"),
        ("444b1ae4d6e2ef4e", "999999999999999700000"),
        ("444b1ae4d6e2ef50", "1e+21"),
        ("3eb0c6f7a0b5ed8c", "9.999999999999997e-7"),
        ("3eb0c6f7a0b5ed8d", "0.000001"),
        ("41b3de4355555554", "333333333.33333325"),
        ("becbf647612f3696", "-0.0000033333333333333333"),
        ("43143ff3c1cb0959", "1424953923781206.2"),
    ],
)
def test_numbers_are_written_as_the_standard_says(bits: str, text: str) -> None:
    assert canonical(struct.unpack(">d", bytes.fromhex(bits))[0]).decode() == text


@given(st.floats(allow_nan=False, allow_infinity=False))
def test_a_number_comes_back(value: float) -> None:
    assert json.loads(canonical(value), parse_int=float) == value


@pytest.mark.parametrize("value", [float("nan"), float("inf"), 2**53, {1, 2}, "\ud800"])
def test_what_json_has_not_got_is_refused(value: Any) -> None:
    with pytest.raises(ValueError, match=r"."):
        canonical(value)
