from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml

from cai.errors import CaiError
from cai.train.config import resolve_training

DATA = {"data": "outputs/run"}


def test_rates_follow_the_method_and_the_adapter() -> None:
    rates = {
        (method, lora): resolve_training(method, {**DATA, "lora": lora}).learning_rate  # type: ignore[arg-type]
        for method in ("sft", "dpo")
        for lora in (16, None)
    }
    assert rates == {("sft", 16): 1e-4, ("sft", None): 2e-5, ("dpo", 16): 5e-6, ("dpo", None): 5e-7}


def test_layers_and_the_file_that_a_run_saves(tmp_path: Path) -> None:
    file = tmp_path / "train.yaml"
    file.write_text("data: here\nlearning_rate: 5e-7\nbeta: 0.2\nepochs: 2\n")
    made = resolve_training("dpo", {"beta": 0.3}, file, ("epochs=3", "report_to=wandb,trackio"))
    assert (made.data, made.learning_rate, made.beta, made.epochs) == ("here", 5e-7, 0.3, 3)
    assert made.report_to == ("wandb", "trackio")
    file.write_text(yaml.safe_dump(made.model_dump(mode="json")))
    assert resolve_training("dpo", {}, file) == made


@pytest.mark.parametrize(
    ("method", "given", "pairs", "message"),
    [
        ("sft", {}, (), "no data is given"),
        ("sft", DATA, ("learning_rat=1",), "unknown setting 'learning_rat'"),
        ("sft", DATA, ("lr=1",), "unknown setting 'lr'"),
        ("sft", DATA, ("epochs",), "no equals sign"),
        ("sft", DATA, ("epochs=many",), "epochs"),
        ("sft", DATA, ("loss=hard",), "only dpo has pairs"),
        ("dpo", DATA, ("loss=kto",), "loss"),
        ("dpo", DATA, ("lora=null", "lora_dropout=0.1"), "there is no adapter"),
        ("dpo", DATA, ("batch_size=10", "micro_batch_size=4"), "batch_size, 10, is no multiple"),
        ("dpo", DATA, ("lora=true",), "true and false mean nothing"),
        ("dpo", DATA, ("mix=more.jsonl=-1",), "no weight"),
        ("dpo", DATA, ("method=sft",), "this is cai train dpo"),
        ("dpo", DATA, ("epochs=2", "max_steps=5"), "max_steps decides"),
        ("dpo", DATA, ("beta=.nan",), "beta"),
    ],
)
def test_what_makes_no_sense_is_an_error_with_a_hint(
    method: Any, given: dict[str, Any], pairs: tuple[str, ...], message: str
) -> None:
    with pytest.raises(CaiError) as caught:
        resolve_training(method, given, None, pairs)
    assert message in caught.value.message
    assert caught.value.hint


def test_names_of_trl_and_peft_are_translated() -> None:
    with pytest.raises(CaiError) as caught:
        resolve_training("dpo", {**DATA, "per_device_train_batch_size": 4})
    assert "micro_batch_size" in caught.value.hint
