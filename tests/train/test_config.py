from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml

from cai.errors import CaiError, InputError
from cai.train.config import TrainSettings, resolve_training
from cai.train.mix import Mix, parse_mix

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
        ("dpo", DATA, ("learning_rate=.inf",), "finite"),
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


def test_null_is_the_default_that_other_settings_decide() -> None:
    made = resolve_training(
        "sft", {**DATA, "learning_rate": None, "lora": 8, "lora_alpha": None, "batch_size": 6}
    )
    assert (made.learning_rate, made.lora_alpha, made.micro_batch_size) == (1e-4, 16, 2)
    whole = resolve_training("sft", DATA, None, ("lora=null", "micro_batch_size=null"))
    assert (whole.lora, whole.lora_alpha, whole.micro_batch_size) == (None, None, 4)
    assert TrainSettings(method="dpo", data="x", lora=4).lora_alpha == 8


def test_a_file_may_hold_what_has_no_effect_as_long_as_it_asks_for_nothing(tmp_path: Path) -> None:
    """What a run saves names every setting; what a person says must have an effect."""
    saved = resolve_training("sft", {**DATA, "lora": None, "max_steps": 3}).model_dump(mode="json")
    file = tmp_path / "train.yaml"
    file.write_text(yaml.safe_dump(saved))
    assert resolve_training("sft", {}, file).model_dump(mode="json") == saved
    with pytest.raises(InputError, match="only dpo has pairs") as caught:
        resolve_training("sft", {}, file, ("loss=soft",))
    assert caught.value.where == "--set loss=soft: loss"
    with pytest.raises(InputError, match="there is no adapter") as caught:
        resolve_training("sft", {"lora_alpha": 32}, file)
    assert caught.value.where == "--lora-alpha"
    file.write_text(yaml.safe_dump({**saved, "beta": 0.2}))
    with pytest.raises(InputError, match="only dpo has pairs") as caught:
        resolve_training("sft", {}, file)
    assert caught.value.where == f"{file}: beta"
    with pytest.raises(InputError, match="'sft', but this is cai train dpo"):
        resolve_training("dpo", {}, file)


@pytest.mark.parametrize("key", ["lora_alpha", "lora_dropout", "merge"])
def test_an_adapter_that_is_not_there_has_no_settings(key: str) -> None:
    value = {"lora_alpha": 8, "lora_dropout": 0.1, "merge": True}[key]
    assert resolve_training("sft", {**DATA, key: value})
    with pytest.raises(InputError, match="there is no adapter"):
        resolve_training("sft", {**DATA, "lora": None, key: value})


def test_a_file_that_scales_an_adapter_it_switches_off_is_wrong(tmp_path: Path) -> None:
    file = tmp_path / "train.yaml"
    file.write_text("data: here\nlora: null\nlora_alpha: 8\n")
    with pytest.raises(InputError, match="there is no adapter") as caught:
        resolve_training("sft", {}, file)
    assert caught.value.where == f"{file}: lora_alpha"


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("loss", "auto"),
        ("beta", 0.1),
        ("nll_weight", 0.0),
        ("length_normalised", False),
        ("pair_source", "all"),
        ("precompute_reference", True),
    ],
)
def test_what_is_for_pairs_is_no_option_of_sft_even_at_its_default(key: str, value: Any) -> None:
    assert resolve_training("dpo", {**DATA, key: value}) == resolve_training("dpo", DATA)
    with pytest.raises(InputError, match="only dpo has pairs"):
        resolve_training("sft", {**DATA, key: value})


def test_errors_say_where_and_what_was_meant(tmp_path: Path) -> None:
    file = tmp_path / "train.yaml"
    file.write_text("data: here\nbetta: 0.2\n")
    with pytest.raises(InputError) as caught:
        resolve_training("dpo", {}, file)
    assert caught.value.message == f"{file}: unknown setting 'betta'"
    assert caught.value.hint == "Did you mean beta?"
    with pytest.raises(InputError) as caught:
        resolve_training("dpo", {**DATA, "r": 8})
    assert (caught.value.where, caught.value.hint) == ("--r", "Did you mean lora?")
    with pytest.raises(InputError) as caught:
        resolve_training("dpo", DATA, None, ("zzz=1",))
    assert caught.value.hint.startswith("Known: method, data, ")
    file.write_text("data: here\nmax_length: long\n")
    with pytest.raises(InputError) as caught:
        resolve_training("dpo", {}, file)
    assert caught.value.where == f"{file}: max_length"
    assert "got 'long'" in caught.value.message
    file.write_text("- data\n")
    with pytest.raises(CaiError, match="not settings"):
        resolve_training("dpo", {}, file)
    with pytest.raises(InputError, match="not valid Unicode"):
        resolve_training("dpo", {**DATA, "mix": ["a\udc80"]})


def test_mixes(tmp_path: Path) -> None:
    made = resolve_training("sft", DATA, None, ("mix=a.jsonl=0.3, hf:x/y@main=2,b",))
    assert made.mixes == (Mix("a.jsonl", 0.3), Mix("hf:x/y@main", 2.0), Mix("b", None))
    file = tmp_path / "train.yaml"
    file.write_text("data: here\nmix: a.jsonl=0.3\n")
    assert resolve_training("sft", {}, file).mixes == (Mix("a.jsonl", 0.3),)
    (tmp_path / "x=1.jsonl").touch()  # the working folder
    assert parse_mix("x=1.jsonl") == Mix("x=1.jsonl", None)
    assert parse_mix("x=1.jsonl=0.5") == Mix("x=1.jsonl", 0.5)
    for text, message in {
        "a=x": "'x' is no weight",
        "a=0": "'0' is no weight",
        "a=inf": "'inf' is no weight",
        "a=nan": "'nan' is no weight",
        "=1": "names no data",
        "": "names no data",
    }.items():
        with pytest.raises(ValueError, match=message):
            parse_mix(text)
    with pytest.raises(InputError, match="names one twice"):
        resolve_training("sft", DATA, None, ("mix=a=1,a=2",))


def test_every_setting_is_described() -> None:
    assert all(field.description for field in TrainSettings.model_fields.values())
