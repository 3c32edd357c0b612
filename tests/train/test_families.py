"""The model that is saved is the one that was trained, whatever class it is of."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file

from cai.engines.local.architecture import load_whole
from cai.engines.local.transformers import TransformersEngine
from cai.errors import CaiError
from cai.train.callbacks import read_metrics
from cai.train.config import resolve_training
from cai.train.merge import merge_run
from cai.train.record import read_record, summary
from cai.train.run import plan, train
from tests.engines.conftest import TEXTS, drawn, user
from tests.train.families import FAMILIES, save_family

WORDS = TEXTS[0].split()
TOWERS = ("visual", "vision_tower", "multi_modal_projector")
OTHERS = [family for family in FAMILIES if family != "llama"]  # that one is all of test_run.py


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Four rows for each method, answers of different lengths."""
    folder = tmp_path_factory.mktemp("rows")
    prompts = [f"Question {n}, please?" for n in range(4)]
    answers = [" ".join(WORDS[: 2 + 3 * n]) for n in range(4)]
    rows = [{"prompt": p, "completion": a} for p, a in zip(prompts, answers, strict=True)]
    pairs = [
        {"prompt": p, "chosen": a, "rejected": "No.", "chosen_probability": 0.8}
        for p, a in zip(prompts, answers, strict=True)
    ]
    for name, lines in (("sft", rows), ("dpo", pairs)):
        (folder / f"{name}.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    return folder


@pytest.fixture
def go(data: Path, tmp_path: Path) -> Callable[..., Path]:
    def run(base: Path, method: Any = "sft", **given: Any) -> Path:
        resume = given.pop("resume", False)
        return train(settings(base, method, data, tmp_path, **given), resume=resume)

    return run


def settings(base: Path, method: Any, data: Path, tmp_path: Path, **given: Any) -> Any:
    named = {
        "data": str(data / f"{method}.jsonl"),
        "model": str(base),
        "out": str(tmp_path / method),
        "batch_size": 4,
        "max_steps": 2,
        "learning_rate": 1e-2,
        "device": "cpu",
        "max_length": 128,
    }
    return resolve_training(method, {**named, **given})


def tensors(folder: Path) -> dict[str, torch.Tensor]:
    found: dict[str, torch.Tensor] = {}
    for file in folder.glob("model*.safetensors"):
        found |= load_file(file)
    return found


def changed(one: Path, other: Path) -> set[str]:
    a, b = tensors(one), tensors(other)
    assert a.keys() == b.keys()  # no tensor is lost
    assert {n: t.dtype for n, t in a.items()} == {n: t.dtype for n, t in b.items()}
    return {name for name in a if not torch.equal(a[name], b[name])}


def mean_nll(base: Path, data: Path) -> float:
    """What the first SFT step must have as its loss, from the plain forward of each row alone."""
    from transformers import AutoTokenizer

    tokenizer, model = AutoTokenizer.from_pretrained(base), load_whole(base, dtype="float32")
    total, count = 0.0, 0
    for line in (data / "sft.jsonl").read_text().splitlines():
        row = json.loads(line)
        asked = f"<|im_start|>user\n{row['prompt']}<|im_end|>\n<|im_start|>assistant\n"
        prompt = tokenizer(asked)["input_ids"]
        whole = tokenizer(f"{asked}{row['completion']}<|im_end|>")["input_ids"]
        ids = torch.tensor([whole])
        with torch.no_grad():
            logp = torch.log_softmax(model(input_ids=ids).logits[0, :-1], dim=-1)
        of_tokens = logp.gather(1, ids[0, 1:, None])[len(prompt) - 1 :]
        total, count = total - float(of_tokens.sum()), count + len(of_tokens)
    return total / count


def auto_class(folder: Path) -> Any:
    """The class that transformers' AutoModel for it gives."""
    from transformers import AutoModelForCausalLM, AutoModelForImageTextToText

    sees = "vision_config" in json.loads((folder / "config.json").read_text())
    return AutoModelForImageTextToText if sees else AutoModelForCausalLM


def answers(folder: Path, texts: list[str]) -> list[str]:
    """What the engine of cai answers, all at once."""

    async def ask() -> list[str]:
        engine = TransformersEngine(str(folder), dtype="float32", device="cpu")
        await engine.start()
        try:
            sampling = drawn(0, temperature=0, max_tokens=6)
            made = await asyncio.gather(*(engine.generate(user(t), sampling) for t in texts))
            return [completion.text for completion in made]
        finally:
            await engine.close()

    return asyncio.run(ask())


def greedy(folder: Path, texts: list[str]) -> list[str]:
    """What transformers answers, one by one."""
    from transformers import AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(folder)
    model = auto_class(folder).from_pretrained(folder, dtype=torch.float32)
    found = []
    for text in texts:
        ids = tokenizer.apply_chat_template(
            [{"role": "user", "content": text}], add_generation_prompt=True, return_tensors="pt"
        )["input_ids"]
        out = model.generate(ids, max_new_tokens=6, do_sample=False)
        found.append(tokenizer.decode(out[0, ids.shape[1] :], skip_special_tokens=True))
    return found


@pytest.mark.parametrize("family", OTHERS)
def test_what_was_trained_is_saved_whole_and_loads(
    family: str, go: Callable[..., Path], data: Path, tmp_path: Path
) -> None:
    base = save_family(family, tmp_path / "base")
    first = mean_nll(base, data)
    text = {n for n in tensors(base) if not any(part in n for part in TOWERS)}
    for method in ("sft", "dpo"):
        for lora in (4, None):
            made = go(base, method, lora=lora, out=str(tmp_path / f"{method}-{lora}"))
            moved = changed(base, made)
            record = read_record(made)
            assert moved <= text, "text does not reach a vision tower"
            if lora:
                merged = record["merged"]
                assert merged["layers"] == merged["changed"] == merged["saved"] > 0
                assert sum(record["model"]["layers"].values()) == merged["layers"]
                assert len(moved) >= merged["layers"]
            else:
                # Of four experts, one may not have been asked.
                assert len(moved) >= len(text) - (3 if family == "qwen3_moe" else 0)
            assert (made / "preprocessor_config.json").read_text().count("of the base") == 1
            line = read_metrics(made / "metrics.jsonl")[0]
            if method == "sft":
                balance = 0.001 * line.get("aux_loss", 0)  # of a mixture of experts
                assert line["loss"] - balance == pytest.approx(first, abs=2e-5)
            else:
                assert line["preference_loss"] == pytest.approx(0.693147, abs=1e-6)
    texts = ["Hello?", "How do I write a letter to my neighbour, please?"]
    assert answers(made, texts) == greedy(made, texts)


def test_the_plan_tells_where_the_adapter_lands(data: Path, tmp_path: Path) -> None:
    base = save_family("qwen3_5", tmp_path / "base")
    lines = "\n".join(plan(settings(base, "sft", data, tmp_path)))
    assert "class Qwen3_5ForConditionalGeneration: 129,280 parameters" in lines
    assert "adapters on 15 layers of model.language_model (" in lines
    assert "not trained, as text does not reach it: model.visual" in lines
    lines = "\n".join(plan(settings(base, "sft", data, tmp_path, lora=None)))
    assert "trained: all weights that text reaches, 45,952 parameters" in lines
    base = save_family("qwen3_moe", tmp_path / "experts")
    lines = "\n".join(plan(settings(base, "sft", data, tmp_path)))
    assert "gate_up_proj × 2, down_proj × 2, gate × 2" in lines


def test_a_plan_loads_no_weights(data: Path, tmp_path: Path) -> None:
    """Of 13 GB, in a file of zeros that takes no room on the disk."""
    from transformers import LlamaConfig

    from tests.engines.conftest import CHATML, tiny_tokenizer

    base = tmp_path / "large"
    tiny_tokenizer(CHATML).save_pretrained(base)
    LlamaConfig(architectures=["LlamaForCausalLM"], dtype="bfloat16").save_pretrained(base)
    sparse(base / "model.safetensors", layers=32, hidden=4096, inner=11008, words=32000)
    before = resident()
    lines = "\n".join(plan(settings(base, "sft", data, tmp_path)))
    assert "6,738,415,616 parameters" in lines
    assert resident() - before < 500e6


def resident() -> float:
    import resource

    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024.0


def sparse(file: Path, layers: int, hidden: int, inner: int, words: int) -> None:
    shapes = {"model.embed_tokens.weight": (words, hidden), "lm_head.weight": (words, hidden)}
    shapes["model.norm.weight"] = (hidden,)  # type: ignore[assignment]
    for n in range(layers):
        at = f"model.layers.{n}"
        shapes |= {f"{at}.self_attn.{p}_proj.weight": (hidden, hidden) for p in "qkvo"}
        shapes |= {f"{at}.mlp.{p}_proj.weight": (inner, hidden) for p in ("gate", "up")}
        shapes[f"{at}.mlp.down_proj.weight"] = (hidden, inner)
        for norm in ("input_layernorm", "post_attention_layernorm"):
            shapes[f"{at}.{norm}.weight"] = (hidden,)  # type: ignore[assignment]
    header, end = {}, 0
    for name, shape in shapes.items():
        start, end = end, end + 2 * torch.Size(shape).numel()
        header[name] = {"dtype": "BF16", "shape": shape, "data_offsets": [start, end]}
    text = json.dumps(header).encode()
    with file.open("wb") as out:
        out.write(len(text).to_bytes(8, "little") + text)
        out.truncate(8 + len(text) + end)


@pytest.mark.parametrize("shards", [1, 3])
def test_tensors_that_the_class_does_not_read_go_with_the_result(
    shards: int, go: Callable[..., Path], data: Path, tmp_path: Path
) -> None:
    """As a head that predicts further tokens, which transformers leaves out without a word."""
    base = save_family("qwen3_5", tmp_path / "base")
    kept = {"mtp.fc.weight": torch.randn(4, 4).bfloat16(), "mtp.norm.weight": torch.randn(4)}
    put(base, tensors(base) | kept, shards)
    assert "carried over unchanged: 2 tensors (mtp.fc.weight, …)" in "\n".join(
        plan(settings(base, "sft", data, tmp_path))
    )
    for lora in (4, None):
        made = go(base, lora=lora, out=str(tmp_path / f"made-{lora}"))
        moved = changed(base, made)
        assert moved
        assert not moved & kept.keys()
        index = json.loads((made / "model.safetensors.index.json").read_text())["weight_map"]
        assert index.keys() == tensors(base).keys()
        assert not (made / "model.safetensors").exists()
        again = go(made, "dpo", out=str(tmp_path / f"again-{lora}"))
        assert not changed(base, again) & kept.keys()


def put(folder: Path, weights: dict[str, torch.Tensor], shards: int) -> None:
    """Write a model's weights again, in one file or several."""
    for file in folder.glob("model*.safetensors"):
        file.unlink()
    if shards == 1:
        save_file(weights, folder / "model.safetensors")
        return
    places = {}
    for number in range(shards):
        name = f"model-{number + 1:05}-of-{shards:05}.safetensors"
        part = {n: t for i, (n, t) in enumerate(weights.items()) if i % shards == number}
        save_file(part, folder / name)
        places |= dict.fromkeys(part, name)
    index = {"metadata": {}, "weight_map": places}
    (folder / "model.safetensors.index.json").write_text(json.dumps(index))


def test_each_tensor_keeps_its_number_format(go: Callable[..., Path], tmp_path: Path) -> None:
    base = save_family("qwen3_5", tmp_path / "base", dtype="bfloat16")
    weights, name = tensors(base), "model.language_model.layers.0.linear_attn.A_log"
    put(base, {**weights, name: torch.tensor([0.1, 0.2, 0.3, 0.4])}, 1)
    made = go(base, max_steps=1)
    moved = changed(base, made)  # compares the formats too
    assert moved
    assert name not in moved
    assert json.loads((made / "config.json").read_text())["dtype"] == "bfloat16"


@pytest.mark.parametrize("family", ["qwen3_moe", "mistral3"])
def test_all_weights_go_on_from_a_checkpoint(
    family: str, go: Callable[..., Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whose files name and cut tensors otherwise than memory does."""
    from cai.train import run as training
    from tests.train.test_run import StopAt

    base = save_family(family, tmp_path / "base")
    given = {"lora": None, "save_every": 1, "max_steps": 3}
    whole = go(base, out=str(tmp_path / "whole"), **given)
    make = training.make_trainer

    def stopping(*arguments: Any) -> Any:
        trainer = make(*arguments)
        trainer.add_callback(StopAt(2))
        return trainer

    monkeypatch.setattr(training, "make_trainer", stopping)
    with pytest.raises(KeyboardInterrupt):
        go(base, **given)
    monkeypatch.setattr(training, "make_trainer", make)
    assert not changed(whole, go(base, resume=True, **given))


# --- what is refused ---


def edit(file: Path, change: Callable[[dict[str, torch.Tensor]], dict[str, torch.Tensor]]) -> None:
    save_file(change(load_file(file)), file, metadata={"format": "pt"})


def test_an_adapter_that_does_not_fit_or_does_nothing_is_refused(
    go: Callable[..., Path], tmp_path: Path
) -> None:
    made = go(save_family("qwen3_5", tmp_path / "base"), merge=False)
    file = made / "adapter" / "adapter_model.safetensors"
    whole = load_file(file)
    merge_run(made, tmp_path / "fine")

    # As the causal class would name them.
    edit(file, lambda _: {n.replace("language_model.", ""): t for n, t in whole.items()})
    with pytest.raises(CaiError, match="no adapter of a Qwen3_5ForConditionalGeneration: it lacks"):
        merge_run(made, tmp_path / "other")
    edit(file, lambda _: {**whole, "base_model.model.model.x.lora_A.weight": torch.ones(1)})
    with pytest.raises(CaiError, match="which has no place there"):
        merge_run(made, tmp_path / "other")
    edit(file, lambda _: {n: 0 * t if "lora_A" in n else t for n, t in whole.items()})
    with pytest.raises(CaiError, match="changes no weight of its base"):
        merge_run(made, tmp_path / "other")
    assert not (tmp_path / "other" / "config.json").exists()


def test_an_adapter_that_has_learnt_nothing_is_merged(
    go: Callable[..., Path], tmp_path: Path
) -> None:
    base = save_family("llama", tmp_path / "base")
    made = go(base, merge=False)
    edit(
        made / "adapter" / "adapter_model.safetensors",
        lambda whole: {n: 0 * t if "lora_B" in n else t for n, t in whole.items()},
    )
    assert not changed(base, merge_run(made))


def model_of(config: dict[str, Any], folder: Path) -> Path:
    save_family("llama", folder)
    path = folder / "config.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), **config}))
    return folder


@pytest.mark.parametrize(
    ("config", "fault"),
    [
        ({"architectures": ["LlamaForSequenceClassification"]}, "writes no text"),
        ({"architectures": ["LlamaModel"]}, "writes no text"),
        ({"architectures": ["MistralForCausalLM"]}, "do not go together"),
        ({"num_hidden_layers": 3}, "weights lack model.layers.2"),
        ({"quantization_config": {"quant_method": "fp8"}}, "quantised"),
        ({"model_type": "t5", "architectures": ["T5ForConditionalGeneration"]}, "writes no text"),
        ({"model_type": "whisper", "architectures": ["WhisperForCausalLM"]}, "an encoder"),
    ],
)
def test_what_cannot_be_trained_is_refused_before_anything(
    config: dict[str, Any], fault: str, data: Path, tmp_path: Path
) -> None:
    base = model_of(config, tmp_path / "base")
    with pytest.raises(CaiError, match=fault):
        plan(settings(base, "sft", data, tmp_path))
    with pytest.raises(CaiError, match=fault):
        train(settings(base, "sft", data, tmp_path))


def test_a_class_that_needs_images_is_refused(data: Path, tmp_path: Path) -> None:
    from transformers import BlipConfig, BlipForConditionalGeneration

    from tests.engines.conftest import CHATML, tiny_tokenizer

    small = {"hidden_size": 16, "intermediate_size": 16, "num_hidden_layers": 1}
    small |= {"num_attention_heads": 2}
    config = BlipConfig(text_config={**small, "vocab_size": 400}, vision_config=small)
    base = tmp_path / "base"
    BlipForConditionalGeneration(config).save_pretrained(base)
    tiny_tokenizer(CHATML).save_pretrained(base)
    with pytest.raises(CaiError, match="cannot be trained on text alone"):
        plan(settings(base, "sft", data, tmp_path))


def test_the_record_tells_what_was_trained(go: Callable[..., Path], tmp_path: Path) -> None:
    made = go(save_family("gemma3", tmp_path / "base"))
    rows = summary(made)[1]
    assert "adapters on 14 layers of model.language_model" in rows["trained"]
    assert rows["merged"] == "14 of 14 layers changed, 14 as saved"
    card = (made / "README.md").read_text()
    assert "as in the base: model.vision\\_tower, model.multi\\_modal\\_projector" in card
