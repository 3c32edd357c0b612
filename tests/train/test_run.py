from __future__ import annotations

import io
import json
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from rich.console import Console
from safetensors.torch import load_file
from transformers import AutoTokenizer, GenerationConfig, TrainerCallback

import cai
from cai.engines.local.chat import Chat
from cai.errors import CaiError
from cai.records import user
from cai.train import run as training
from cai.train.callbacks import Guards, Metrics, read_metrics
from cai.train.config import resolve_training
from cai.train.merge import merge_run
from cai.train.record import as_started, read_record, summary
from cai.train.run import plan, train
from tests.engines.conftest import CHATML, save_tiny

Train = Callable[..., Path]


@pytest.fixture(scope="module")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_tiny(tmp_path_factory.mktemp("tiny"))


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run of the scripted model: 40 prompts, both datasets, both splits."""
    folder = tmp_path_factory.mktemp("data")
    prompts = folder / "prompts.jsonl"
    rows = [{"prompt": f"Question {n}, please?"} for n in range(40)]
    prompts.write_text("".join(json.dumps(row) + "\n" for row in rows))
    cai.generate(
        prompts=str(prompts),
        model="scripted:words=8",
        out=folder / "run",
        test_share=0.25,
    )
    return folder / "run"


@pytest.fixture
def go(tiny: Path, data: Path, tmp_path: Path) -> Train:
    def run(method: Any = "sft", resume: bool = False, **given: Any) -> Path:
        console = given.pop("console", None)
        named = {
            "data": str(data),
            "model": str(tiny),
            "out": str(tmp_path / "out"),
            "batch_size": 8,
            "max_length": 512,
            "learning_rate": 1e-3,
            "device": "cpu",
            "dtype": "float32",
        }
        settings = resolve_training(method, {**named, **given})
        return train(settings, resume=resume, console=console)

    return run


def weights(folder: Path) -> dict[str, torch.Tensor]:
    found: dict[str, torch.Tensor] = load_file(folder / "model.safetensors")
    return found


def same(one: Path, other: Path) -> bool:
    a, b = weights(one), weights(other)
    return a.keys() == b.keys() and all(torch.equal(a[name], b[name]) for name in a)


def test_the_whole_chain(go: Train, tmp_path: Path, tiny: Path) -> None:
    """SFT → merge → soft DPO → reload → generate."""
    sft = go("sft", out=str(tmp_path / "sft"))
    assert not same(sft, tiny)
    lines = read_metrics(sft / "metrics.jsonl")
    losses = [line["eval_loss"] for line in lines if "eval_loss" in line]
    assert losses[-1] < losses[0]
    assert all("cpu_memory_mb" in line for line in lines)
    soft = {"loss": "soft", "min_margin": 0.1}
    dpo = go("dpo", model=str(sft), out=str(tmp_path / "dpo"), epochs=2, **soft)
    first = next(line for line in read_metrics(dpo / "metrics.jsonl") if "loss" in line)
    assert first["preference_loss"] == pytest.approx(math.log(2), abs=1e-6)
    for name in ("README.md", "train.yaml", "training.json", "training.png", "config.json"):
        assert (dpo / name).is_file()
    assert (dpo / "training.png").read_bytes().startswith(b"\x89PNG")
    assert not (dpo / ".data").exists()
    made = cai.generate(
        model=str(dpo), limit=2, out=tmp_path / "again", stages=["sft"], critique=False,
        revisions=0, policy_max_tokens=4, device="cpu",
    )  # fmt: skip
    assert made.manifest.calls["made"] >= 2
    record, rows = summary(dpo)
    assert record["state"] == "done"
    assert rows["method"] == "dpo, soft loss"
    assert "5" in rows["steps"] or int(rows["steps"]) > 0
    # One that was started when soft was the default goes on with it, in words and in weights.
    assert as_started(resolve_training("dpo", {"data": "x"}), dpo).loss == "soft"
    made_at = (dpo / "model.safetensors").stat().st_mtime_ns
    assert go("dpo", model=str(sft), out=str(tmp_path / "dpo"), epochs=2) == dpo
    assert (dpo / "model.safetensors").stat().st_mtime_ns == made_at
    with pytest.raises(CaiError, match="come to its end"):
        go("dpo", model=str(sft), out=str(tmp_path / "dpo"), epochs=2, loss="hard")


def test_auto_on_labels_that_nobody_calibrated_is_hard(go: Train, tmp_path: Path) -> None:
    auto = go("dpo", out=str(tmp_path / "auto"))
    hard = go("dpo", out=str(tmp_path / "hard"), loss="hard", min_margin=0.2)
    # Through the sum of the soft loss, whose second term is 0: equal but for the last bits.
    one, other = weights(auto), weights(hard)
    assert all(torch.allclose(one[name], other[name], atol=1e-6) for name in one)
    soft = go("dpo", out=str(tmp_path / "soft"), loss="soft")
    assert not all(torch.allclose(weights(soft)[n], one[n], atol=1e-6) for n in one)


def test_the_same_seed_gives_the_same_weights_and_another_does_not(
    go: Train, tmp_path: Path
) -> None:
    one, two, three = (
        go("dpo", out=str(tmp_path / name), seed=seed)
        for name, seed in (("one", 0), ("two", 0), ("three", 1))
    )
    assert same(one, two)
    assert not same(one, three)


class StopAt(TrainerCallback):  # type: ignore[misc]
    def __init__(self, step: int) -> None:
        self.step = step

    def on_step_end(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        if state.global_step == self.step:
            raise KeyboardInterrupt


@pytest.mark.parametrize("method", ["sft", "dpo"])
def test_interrupted_and_resumed_equals_uninterrupted(
    go: Train, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, method: str
) -> None:
    given = {"save_every": 2, "epochs": 2, "lora_dropout": 0.1}
    whole = go(method, out=str(tmp_path / "whole"), **given)
    make = training.make_trainer

    def stopping(*arguments: Any) -> Any:
        trainer = make(*arguments)
        trainer.add_callback(StopAt(3))
        return trainer

    monkeypatch.setattr(training, "make_trainer", stopping)
    with pytest.raises(KeyboardInterrupt):
        go(method, **given)
    monkeypatch.setattr(training, "make_trainer", make)
    with pytest.raises(CaiError, match="cannot go on, this changed: learning_rate"):
        go(method, **given, learning_rate=0.1)
    resumed = go(method, **given)  # the same command goes on
    assert same(resumed, whole)
    steps = [line["step"] for line in read_metrics(resumed / "metrics.jsonl") if "loss" in line]
    assert steps == sorted(set(steps))
    console = Console(record=True, quiet=False, file=io.StringIO())
    assert go(method, console=console, **given) == resumed  # once more: nothing is left to do
    assert "has come to its end" in console.export_text()
    with pytest.raises(CaiError, match="has come to its end"):
        go(method, **given, learning_rate=0.1)


def test_a_resume_refuses_other_settings_and_other_data(
    go: Train, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    make = training.make_trainer

    def stopping(*arguments: Any) -> Any:
        trainer = make(*arguments)
        trainer.add_callback(StopAt(2))
        return trainer

    rows = [{"prompt": f"Question {n}", "completion": f"Answer {n}."} for n in range(20)]
    file = tmp_path / "rows.jsonl"
    file.write_text("".join(json.dumps(row) + "\n" for row in rows))
    monkeypatch.setattr(training, "make_trainer", stopping)
    with pytest.raises(KeyboardInterrupt):
        go(data=str(file), save_every=1)
    monkeypatch.setattr(training, "make_trainer", make)
    with pytest.raises(CaiError, match=r"learning_rate: 0\.001 → 0\.002"):
        go(data=str(file), save_every=1, learning_rate=2e-3, resume=True)
    file.write_text(file.read_text().replace("Answer 7.", "Another answer."))
    with pytest.raises(CaiError, match="this changed: the data"):
        go(data=str(file), save_every=1, resume=True)


@pytest.mark.parametrize("lora", [4, None])
def test_a_model_that_drops_activations_still_starts_at_its_reference(
    go: Train, tmp_path: Path, lora: int | None
) -> None:
    base = save_tiny(tmp_path / "base", attention_dropout=0.3)
    made = go("dpo", model=str(base), lora=lora, max_steps=1)
    line = next(m for m in read_metrics(made / "metrics.jsonl") if "preference_loss" in m)
    assert line["preference_loss"] == pytest.approx(math.log(2), abs=1e-6)


def test_all_weights_without_an_adapter(go: Train, tmp_path: Path, tiny: Path) -> None:
    made = go("dpo", lora=None, precompute_reference=False, learning_rate=1e-4)
    assert not (made / "adapter").exists()
    assert not same(made, tiny)


def test_merging_later_gives_the_same_model(go: Train, tmp_path: Path) -> None:
    now = go(out=str(tmp_path / "now"))
    later = go(out=str(tmp_path / "later"), merge=False)
    assert not (later / "model.safetensors").exists()
    with pytest.raises(CaiError, match="an adapter, not a whole model"):
        go(model=str(later / "adapter"), out=str(tmp_path / "none"))
    merged = merge_run(later, tmp_path / "elsewhere")
    assert same(merged, now)
    assert same(merge_run(later), now)
    with pytest.raises(CaiError, match="not empty"):
        merge_run(later, tmp_path / "now")
    with pytest.raises(CaiError, match="no adapter here"):
        merge_run(tmp_path)


# --- guards ---


def test_a_wrong_reference_stops_the_first_step(
    go: Train, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    make = training.make_trainer

    def broken(*arguments: Any) -> Any:
        trainer = make(*arguments)
        first = next(p for n, p in trainer.model.named_parameters() if "lora_B" in n)
        with torch.no_grad():
            first.add_(0.5)  # the policy is no longer its reference
        return trainer

    monkeypatch.setattr(training, "make_trainer", broken)
    with pytest.raises(CaiError, match=r"not ln 2 = 0\.6931"):
        go("dpo")
    assert not (tmp_path / "out" / "model.safetensors").exists()


def test_a_loss_that_is_no_number_stops(go: Train, monkeypatch: pytest.MonkeyPatch) -> None:
    make = training.make_trainer

    def broken(*arguments: Any) -> Any:
        trainer = make(*arguments)
        first = next(p for n, p in trainer.model.named_parameters() if "lora_A" in n)
        with torch.no_grad():
            first.fill_(math.nan)
        return trainer

    monkeypatch.setattr(training, "make_trainer", broken)
    with pytest.raises(CaiError, match="loss is nan"):
        go("sft")


def test_chosen_answers_that_become_unlikely_are_warned_of() -> None:
    console = Console(record=True, width=200, quiet=False, file=open("/dev/null", "w"))  # noqa: SIM115, PTH123
    guards = Guards(console, beta=0.1)
    state = type("State", (), {"global_step": 1, "is_world_process_zero": True})()
    for reward in (-0.1, -3.0, -0.2, -0.1):  # one bad batch, in nats: 30
        guards.on_log(None, state, None, logs={"rewards/chosen": reward})
    assert "less likely" not in console.export_text(clear=False)
    for _ in range(4):
        guards.on_log(None, state, None, logs={"rewards/chosen": -1.2})
    assert console.export_text().count("less likely by") == 1
    console.file.close()


def test_too_long_rows_and_saturated_labels_stop(go: Train, tmp_path: Path) -> None:
    with pytest.raises(CaiError, match=r"too_long|max_length"):
        go(max_length=20)
    rows = [
        {"prompt": f"Q {n}", "chosen": f"good {n}", "rejected": f"bad {n}",
         "chosen_probability": 1.0}
        for n in range(20)
    ]  # fmt: skip
    file = tmp_path / "sure.jsonl"
    file.write_text("".join(json.dumps(row) + "\n" for row in rows))
    with pytest.raises(CaiError, match=r"above 0\.99"):
        go("dpo", data=str(file), loss="soft")
    go("dpo", data=str(file), loss="hard")


def test_a_model_that_ends_turns_with_another_token_than_texts_learns_and_saves_it(
    tmp_path: Path, go: Train
) -> None:
    base = save_tiny(tmp_path / "base", eos_token_id=0)  # its template ends turns with <|im_end|>
    tokenizer = AutoTokenizer.from_pretrained(base)
    tokenizer.eos_token = "<|endoftext|>"
    tokenizer.save_pretrained(base)
    for lora in (4, None):
        made = go(model=str(base), lora=lora, out=str(tmp_path / f"out-{lora}"))
        assert AutoTokenizer.from_pretrained(made).eos_token == "<|im_end|>"
        assert GenerationConfig.from_pretrained(made).eos_token_id == [2, 0]
    # Its template is the one that it knows.
    go("dpo", model=str(made), loss="hard", out=str(tmp_path / "dpo"))


def test_a_base_model_whose_texts_begin_with_a_token_gets_it_in_its_template(
    tmp_path: Path, go: Train
) -> None:
    from tokenizers.processors import TemplateProcessing

    base = save_tiny(tmp_path / "base", template=None)
    tokenizer = AutoTokenizer.from_pretrained(base)
    tokenizer.bos_token = "<|endoftext|>"
    tokenizer.backend_tokenizer.post_processor = TemplateProcessing(
        single="<|endoftext|> $A", special_tokens=[("<|endoftext|>", 0)]
    )
    tokenizer.save_pretrained(base)
    chat = Chat(AutoTokenizer.from_pretrained(go(model=str(base))))
    ids = chat.encode((user("Why?"),)).ids
    assert chat.tokenizer.decode(ids) == "<|endoftext|>### User:\nWhy?\n\n### Assistant:\n"


def test_a_template_that_lies_beside_the_processor_is_trained_with_and_saved(
    tmp_path: Path, go: Train
) -> None:
    base = save_tiny(tmp_path / "base", template=None)
    (base / "chat_template.json").write_text(json.dumps({"chat_template": CHATML}))
    made = go(model=str(base))
    assert AutoTokenizer.from_pretrained(made).chat_template == CHATML


def test_a_base_model_gets_a_template_that_is_saved_with_it(
    tmp_path: Path, go: Train, data: Path
) -> None:
    base = save_tiny(tmp_path / "base", template=None)
    made = go(model=str(base))
    text = (made / "chat_template.jinja").read_text()
    assert "### Assistant:" in text
    assert read_record(made)["template"]
    other = tmp_path / "other.jinja"
    other.write_text(CHATML)
    with pytest.raises(CaiError, match="trained with another chat template"):
        go("dpo", model=str(made), chat_template=str(other), out=str(tmp_path / "dpo"))
    endless = tmp_path / "endless.jinja"
    endless.write_text("{% for m in messages %}{{ m['content'] }}\n{% endfor %}")
    with pytest.raises(CaiError, match="no end token"):
        go(model=str(base), chat_template=str(endless), out=str(tmp_path / "endless"))
    broken = tmp_path / "broken.jinja"
    broken.write_text("{% for m in messages %}")
    with pytest.raises(CaiError, match="not understood"):
        go(model=str(base), chat_template=str(broken), out=str(tmp_path / "broken"))


def test_a_folder_of_others_is_left_alone(go: Train, tmp_path: Path, data: Path) -> None:
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "letter.txt").write_text("dear")
    with pytest.raises(CaiError, match=r"holds other files \(letter\.txt\)"):
        go()
    with pytest.raises(CaiError, match="nothing to resume"):
        go(out=str(tmp_path / "new"), resume=True)


def test_a_plan_trains_nothing(tiny: Path, data: Path, tmp_path: Path) -> None:
    settings = resolve_training(
        "sft", {"data": str(data), "model": str(tiny), "batch_size": 8, "max_length": 512}
    )
    lines = plan(settings)
    assert any("updates of 8 rows" in line for line in lines)
    assert not (tmp_path / "outputs").exists()


def test_metrics_survive_a_line_that_was_cut(tmp_path: Path) -> None:
    path = tmp_path / "metrics.jsonl"
    path.write_text('{"step": 1, "loss": 2}\n{"step": 2, "lo')
    assert read_metrics(path) == [{"step": 1, "loss": 2}]
    state = type("State", (), {"global_step": 0, "is_world_process_zero": True})()
    Metrics(path).on_train_begin(None, state, None)
    assert path.read_text() == ""
