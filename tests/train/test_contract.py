"""What we rely on in TRL, and what we promise of our own trainer, on a tiny model in float32."""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path
from typing import Any, get_args

import pytest
import torch
from datasets import Dataset
from peft import LoraConfig, PeftModel, get_peft_model
from transformers import AutoModelForCausalLM
from trl import DPOConfig, DPOTrainer, SFTConfig

from cai.errors import CaiError
from cai.train.dpo import CaiDPOTrainer, dpo_trainer
from cai.train.losses import Loss
from cai.train.sft import sft_trainer
from tests.engines.conftest import save_tiny

KINDS = get_args(Loss)
BETA = 0.5
LN_2 = math.log(2)
WAYS = ("adapter", "full")
Pairs = list[dict[str, Any]]
Make = Callable[..., CaiDPOTrainer]


def settings(kind: type, **more: Any) -> Any:
    plain: dict[str, Any] = {
        "output_dir": "out",
        "use_cpu": True,
        "bf16": False,
        "activation_checkpointing": True,
        "report_to": "none",
        "disable_tqdm": True,
        "save_strategy": "no",
        "logging_steps": 1,
        "max_steps": 4,
        "learning_rate": 1e-2,
        "per_device_train_batch_size": 2,
    }
    return kind(**{**plain, **({"beta": BETA} if kind is DPOConfig else {}), **more})


def adapter(**more: Any) -> LoraConfig:
    return LoraConfig(r=4, target_modules="all-linear", task_type="CAUSAL_LM", **more)


def load(folder: Path) -> Any:
    return AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32)


@pytest.fixture
def make(tiny: Path, tokenizer: Any, pairs: Pairs) -> Make:
    """A trainer on the pairs; `way` is how, other keywords are for the trainer or its settings."""

    def made(
        way: str, loss: Loss = "hard", *, model: Any = None, rows: Pairs | None = None, **more: Any
    ) -> CaiDPOTrainer:
        own = ("reference", "nll_weight", "length_normalised", "callbacks", "peft_config", "eval")
        options = {name: more.pop(name) for name in own if name in more}
        options.setdefault("peft_config", adapter() if way == "adapter" else None)
        return dpo_trainer(
            tiny if model is None else model,
            options.pop("reference", None),
            settings(DPOConfig, **more),
            Dataset.from_list(pairs if rows is None else rows),
            options.pop("eval", None),
            tokenizer,
            loss=loss,
            **options,
        )

    return made


def learnt(trainer: Any) -> dict[str, torch.Tensor]:
    named = trainer.model.named_parameters()
    return {name: p.detach().clone() for name, p in named if p.requires_grad}


def same(one: dict[str, torch.Tensor], other: dict[str, torch.Tensor]) -> bool:
    return one.keys() == other.keys() and all(torch.equal(one[name], other[name]) for name in one)


def flat(tensors: dict[str, torch.Tensor]) -> torch.Tensor:
    return torch.cat([tensors[name].flatten() for name in sorted(tensors)])


def trained(trainer: Any, checkpoint: str | None = None) -> tuple[list[float], dict[str, Any]]:
    """The exact loss of each batch, and the weights at the end."""
    losses, compute = [], trainer.compute_loss

    def recorded(*args: Any, **named: Any) -> Any:
        losses.append(compute(*args, **named))
        return losses[-1]

    trainer.compute_loss = recorded
    torch.manual_seed(0)  # of dropout; a trainer sets it when it is made, not when it trains
    trainer.train(resume_from_checkpoint=checkpoint)
    return [float(loss.detach()) for loss in losses], learnt(trainer)


# The stock trainer


def mixture(folder: Path, tokenizer: Any) -> Path:
    """A tiny mixture of experts, whose loss has a term of its own."""
    from transformers import MixtralConfig, MixtralForCausalLM

    torch.manual_seed(0)
    config = MixtralConfig(
        vocab_size=len(tokenizer),
        hidden_size=32,
        intermediate_size=32,
        num_hidden_layers=2,
        num_attention_heads=2,
        num_key_value_heads=2,
        num_local_experts=4,
        output_router_logits=True,
        router_aux_loss_coef=0.1,
    )
    MixtralForCausalLM(config).save_pretrained(folder)
    return folder


def dropping(folder: Path, tokenizer: Any) -> Path:
    """A model that draws in both forward passes: the adapter is off in the second, this is not."""
    return save_tiny(folder, hidden_size=32, intermediate_size=64, attention_dropout=0.1)


@pytest.mark.parametrize(
    ("way", "base", "more"),
    [
        ("adapter", None, {}),
        ("full", None, {}),
        ("adapter", None, {"precompute_ref_log_probs": True}),
        ("full", None, {"precompute_ref_log_probs": True, "gradient_accumulation_steps": 2}),
        ("adapter", dropping, {"disable_dropout": False, "bf16": True}),
        ("full", mixture, {}),
    ],
)
def test_hard_is_the_stock_trainer_bit_for_bit(
    way: str,
    base: Callable[[Path, Any], Path] | None,
    more: dict[str, Any],
    make: Make,
    tiny: Path,
    tokenizer: Any,
    pairs: Pairs,
    tmp_path: Path,
) -> None:
    folder = base(tmp_path / "base", tokenizer) if base else tiny
    peft_config = adapter(lora_dropout=0.2) if way == "adapter" else None
    stock = DPOTrainer(
        model=str(folder),
        args=settings(DPOConfig, **more),
        train_dataset=Dataset.from_list(pairs),
        processing_class=tokenizer,
        peft_config=peft_config,
    )
    ours = make(way, "hard", model=folder, peft_config=peft_config, **more)
    start = learnt(stock)
    (losses, weights), (our_losses, our_weights) = trained(stock), trained(ours)
    assert len(losses) == 4 * more.get("gradient_accumulation_steps", 1)
    assert our_losses == losses
    assert same(our_weights, weights)
    assert not same(weights, start)
    for stock_line, line in zip(stock.state.log_history[:-1], ours.state.log_history, strict=False):
        assert stock_line == {name: line[name] for name in stock_line}


# The losses, computed by hand


def answer_logp(model: Any, tokenizer: Any, pair: dict[str, Any], side: str) -> tuple[Any, int]:
    """log π(answer | prompt) from the plain forward pass of one unpadded text, and its tokens."""
    asked = f"<|im_start|>user\n{pair['prompt'][0]['content']}<|im_end|>\n<|im_start|>assistant\n"
    prompt = tokenizer(asked)["input_ids"]
    whole = tokenizer(f"{asked}{pair[side][0]['content']}<|im_end|>\n")["input_ids"]
    assert whole[: len(prompt)] == prompt
    ids = torch.tensor([whole])
    logp = torch.log_softmax(model(input_ids=ids).logits[0, :-1], dim=-1)
    of_tokens = logp.gather(1, ids[0, 1:, None])[len(prompt) - 1 :]
    return of_tokens.sum(), len(of_tokens)


def by_hand(
    policy: Any, reference: Any, tokenizer: Any, pairs: Pairs, kind: Loss, options: dict[str, Any]
) -> Any:
    total: Any = 0.0
    for pair in pairs:
        policy_chosen, chosen_tokens = answer_logp(policy, tokenizer, pair, "chosen")
        policy_rejected, rejected_tokens = answer_logp(policy, tokenizer, pair, "rejected")
        with torch.no_grad():
            ref_chosen, _ = answer_logp(reference, tokenizer, pair, "chosen")
            ref_rejected, _ = answer_logp(reference, tokenizer, pair, "rejected")
        chosen, rejected = policy_chosen - ref_chosen, policy_rejected - ref_rejected
        if options.get("length_normalised"):
            chosen, rejected = chosen / chosen_tokens, rejected / rejected_tokens
        p = pair["chosen_probability"]
        if kind == "soft":
            sure = 1 / (1 + torch.exp(-BETA * (chosen - rejected)))
            total = total - p * torch.log(sure) - (1 - p) * torch.log(1 - sure)
        else:  # DPO on likelihoods averaged geometrically: π(chosen)^p π(rejected)^(1 - p)
            p = 1 if kind == "hard" else p
            better, worse = (
                p * chosen + (1 - p) * rejected,
                (1 - p) * chosen + p * rejected,
            )
            total = total - torch.log(1 / (1 + torch.exp(-BETA * (better - worse))))
        total = total - options.get("nll_weight", 0) * policy_chosen / chosen_tokens
    return total / len(pairs)


def disturbed(trainer: Any) -> None:
    """Take the policy away from its reference, which must not follow."""
    generator = torch.Generator().manual_seed(1)
    for p in trainer.model.parameters():
        if p.requires_grad:
            p.data += 0.05 * torch.randn(p.shape, generator=generator)


@pytest.mark.parametrize("precomputed", [False, True])
@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize(
    ("kind", "options"),
    [
        ("soft", {}),
        ("geometric", {}),
        ("soft", {"nll_weight": 0.3, "length_normalised": True}),
    ],
)
def test_loss_and_gradient_are_those_computed_by_hand(
    kind: Loss,
    options: dict[str, Any],
    way: str,
    precomputed: bool,
    make: Make,
    tiny: Path,
    tokenizer: Any,
    pairs: Pairs,
) -> None:
    trainer = make(
        way,
        kind,
        precompute_ref_log_probs=precomputed,
        per_device_train_batch_size=len(pairs),
        **options,
    )
    disturbed(trainer)
    (batch,) = trainer.get_train_dataloader()
    loss = trainer.compute_loss(trainer.model.train(), batch)
    loss.backward()
    gradient = {n: p.grad.clone() for n, p in trainer.model.named_parameters() if p.requires_grad}
    trainer.model.zero_grad()

    expected = by_hand(trainer.model, load(tiny), tokenizer, pairs, kind, options)
    expected.backward()
    hand = {n: p.grad for n, p in trainer.model.named_parameters() if p.requires_grad}
    assert loss.item() == pytest.approx(expected.item(), abs=1e-6)
    assert abs(loss.item() - LN_2) > 0.01
    assert (flat(gradient) - flat(hand)).norm() < 1e-4 * flat(hand).norm()
    assert trainer.first_preference_loss == trainer._metrics["train"]["preference_loss"][0]
    assert set(trainer._metrics["train"]) >= {"rewards/margins", "logps/chosen", "entropy"}


@pytest.mark.parametrize("precomputed", [False, True])
def test_evaluation_has_the_same_loss(
    precomputed: bool, make: Make, tiny: Path, tokenizer: Any, pairs: Pairs
) -> None:
    trainer = make("adapter", "soft", nll_weight=0.5, precompute_ref_log_probs=precomputed)
    disturbed(trainer)
    given: set[str] = set()
    trainer.model.register_forward_pre_hook(
        lambda module, args, named: given.update(named), with_kwargs=True
    )
    found = trainer.evaluate(Dataset.from_list(pairs))
    assert "input_ids" in given
    assert "chosen_probability" not in given  # some models take no argument they do not know
    with torch.no_grad():
        expected = by_hand(
            trainer.model, load(tiny), tokenizer, pairs, "soft", {"nll_weight": 0.5}
        ).item()
    assert found["eval_loss"] == pytest.approx(expected, abs=1e-6)
    parts = found["eval_preference_loss"] + 0.5 * found["eval_nll"]
    assert found["eval_loss"] == pytest.approx(parts, abs=1e-6)
    assert trainer.first_preference_loss is None


# Training


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("kind", KINDS)
def test_the_first_preference_loss_is_ln_2(kind: Loss, way: str, make: Make) -> None:
    trainer = make(way, kind, max_steps=1, nll_weight=0.5, length_normalised=True)
    trainer.train()
    assert trainer.first_preference_loss == pytest.approx(LN_2, abs=1e-6)
    assert trainer.state.log_history[0]["preference_loss"] == trainer.first_preference_loss
    assert trainer.state.log_history[0]["loss"] > LN_2


def test_the_first_preference_loss_is_checked_before_anything_is_learnt(make: Make) -> None:
    def refuse(value: float) -> None:
        raise CaiError(f"{value:.4f}")

    trainer = make("full", "soft")
    start = learnt(trainer)
    trainer.check_first_preference = refuse
    with pytest.raises(CaiError, match=r"0\.6931"):
        trainer.train()
    assert same(learnt(trainer), start)


@pytest.mark.parametrize("way", WAYS)
def test_eight_rows_at_once_or_in_parts(way: str, make: Make) -> None:
    updates = []
    for rows, times in ((8, 1), (1, 8), (3, 3)):  # of the last three, the third has two
        trainer = make(
            way,
            "soft",
            per_device_train_batch_size=rows,
            gradient_accumulation_steps=times,
            max_steps=2,
            optim="sgd",
            learning_rate=0.1,
            nll_weight=0.5,
        )
        start = flat(learnt(trainer))
        updates.append(flat(trained(trainer)[1]) - start)
    assert updates[0].norm() > 0
    for other in updates[1:]:
        assert (updates[0] - other).norm() < 1e-4 * updates[0].norm()


@pytest.mark.parametrize("way", WAYS)
def test_geometric_learns_nothing_from_undecided_pairs(way: str, make: Make, pairs: Pairs) -> None:
    undecided = [{**pair, "chosen_probability": 0.5} for pair in pairs]
    trainer = make(way, "geometric", rows=undecided)
    start = learnt(trainer)
    assert same(trained(trainer)[1], start)
    moved = make(way, "geometric")
    assert not same(trained(moved)[1], start)


@pytest.mark.parametrize("way", WAYS)
def test_resumed_or_run_again_the_weights_are_the_same(way: str, make: Make) -> None:
    keep: dict[str, Any] = {"save_strategy": "steps", "save_steps": 2}
    losses, weights = trained(make(way, "soft", output_dir="whole", **keep))
    again = trained(make(way, "soft"))
    resumed = trained(make(way, "soft"), "whole/checkpoint-2")
    assert again[0] == losses
    assert same(again[1], weights)
    assert resumed[0] == losses[2:]
    assert same(resumed[1], weights)


# The reference


def test_the_reference_of_full_training_is_a_frozen_copy(make: Make, tiny: Path) -> None:
    trainer = make("full", "soft")
    saved = load(tiny).state_dict()
    trained(trainer)
    assert all(torch.equal(t, saved[n]) for n, t in trainer.ref_model.state_dict().items())
    assert not same(learnt(trainer), saved)
    assert make("adapter", "soft").ref_model is None
    assert make("full", "soft", precompute_ref_log_probs=True).ref_model is None


@pytest.mark.parametrize("precomputed", [False, True])
@pytest.mark.parametrize("way", WAYS)
def test_a_loaded_model_trains_as_its_folder_does(
    way: str, precomputed: bool, make: Make, tiny: Path
) -> None:
    more = {"precompute_ref_log_probs": precomputed, "max_steps": 2}
    from_folder = trained(make(way, "soft", **more))
    model = load(tiny)
    model.name_or_path = model.config._name_or_path = "elsewhere"
    trainer = make(way, "soft", model=model, reference=tiny, **more)
    loaded = trained(trainer)
    assert loaded[0] == from_folder[0]
    assert same(loaded[1], from_folder[1])
    if way == "adapter":
        assert trainer.model.peft_config["default"].base_model_name_or_path == str(tiny)


def merged_in_memory(tiny: Path) -> Any:
    wrapped = get_peft_model(load(tiny), adapter(init_lora_weights=False))
    return wrapped.merge_and_unload()


def with_adapter(tiny: Path) -> Any:
    return get_peft_model(load(tiny), adapter())


def with_adapter_inside(tiny: Path) -> Any:
    model = load(tiny)
    model.add_adapter(adapter())
    return model


def adapter_folder(tiny: Path) -> Any:
    get_peft_model(load(tiny), adapter()).save_pretrained("adapter")
    return Path("adapter")


@pytest.mark.parametrize("precomputed", [False, True])
@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize(
    ("model", "said"),
    [
        (merged_in_memory, "is not the one in"),
        (with_adapter, "has an adapter"),
        (with_adapter_inside, "has an adapter"),
        (adapter_folder, "an adapter"),
    ],
)
def test_a_model_without_a_right_reference_is_refused(
    model: Callable[[Path], Any], said: str, way: str, precomputed: bool, make: Make, tiny: Path
) -> None:
    given = model(tiny)
    with pytest.raises(CaiError, match=said) as refused:
        make(way, "soft", model=given, precompute_ref_log_probs=precomputed)
    assert "Merge the adapter, save the model" in refused.value.hint
    if way == "adapter":
        row = {"prompt": [], "completion": []}
        with pytest.raises(CaiError, match=said):
            sft_trainer(given, settings(SFTConfig), Dataset.from_list([row]), None, None, adapter())


def test_a_merged_model_that_is_saved_trains_from_its_folder(make: Make, tiny: Path) -> None:
    merged_in_memory(tiny).save_pretrained("merged")
    for way in WAYS:
        trainer = make(way, "soft", model="merged", max_steps=1)
        trainer.train()
        assert trainer.first_preference_loss == pytest.approx(LN_2, abs=1e-6)
        if way == "adapter":
            assert isinstance(trainer.model, PeftModel)
            assert trainer.model.peft_config["default"].base_model_name_or_path == "merged"


def test_other_references_labels_columns_and_losses_are_refused(
    make: Make, tiny: Path, tmp_path: Path, pairs: Pairs
) -> None:
    with pytest.raises(CaiError, match="another reference"):
        make("full", reference=save_tiny(tmp_path / "other"))
    for label in (0.4, 1.1, None, math.nan):
        with pytest.raises(CaiError, match="row 1: chosen_probability is"):
            make("full", rows=[pairs[0], {**pairs[1], "chosen_probability": label}])
    with pytest.raises(CaiError, match="no chosen_probability"):
        make("full", rows=[{k: pairs[0][k] for k in ("prompt", "chosen", "rejected")}])
    with pytest.raises(CaiError, match="no rows"):
        make("full", eval=Dataset.from_list(pairs).select([]))
    with pytest.raises(CaiError, match="TRL's loss_type, label_smoothing would"):
        make("full", loss_type="robust", label_smoothing=0.1)


# Demonstrations


@pytest.mark.parametrize("way", WAYS)
def test_sft_learns_completions_only(way: str, tiny: Path, tokenizer: Any, pairs: Pairs) -> None:
    rows = [{"prompt": pair["prompt"], "completion": pair["chosen"]} for pair in pairs]
    trainer = sft_trainer(
        str(tiny),
        settings(SFTConfig, per_device_train_batch_size=len(pairs), max_steps=1),
        Dataset.from_list(rows),
        None,
        tokenizer,
        adapter() if way == "adapter" else None,
    )
    start = learnt(trainer)
    with torch.no_grad():
        scored = [answer_logp(load(tiny), tokenizer, pair, "chosen") for pair in pairs]
    trainer.train()
    expected = -sum(logp.item() for logp, _ in scored) / sum(tokens for _, tokens in scored)
    assert trainer.state.log_history[0]["loss"] == pytest.approx(expected, abs=1e-5)
    assert not same(learnt(trainer), start)


def test_sft_refuses_data_or_settings_that_would_learn_prompts(
    tiny: Path, tokenizer: Any, pairs: Pairs
) -> None:
    rows = [{"prompt": pair["prompt"], "completion": pair["chosen"]} for pair in pairs]
    prompts_too = settings(SFTConfig, completion_only_loss=False)
    with pytest.raises(CaiError, match="prompts would be learnt"):
        sft_trainer(tiny, prompts_too, Dataset.from_list(rows), None, tokenizer)
    with pytest.raises(CaiError, match="no completion"):
        sft_trainer(tiny, settings(SFTConfig), Dataset.from_list(pairs), None, tokenizer)


# Rows that are tokens already


def tokens(tokenizer: Any, pair: dict[str, Any], side: str) -> tuple[list[int], list[int]]:
    asked = f"<|im_start|>user\n{pair['prompt'][0]['content']}<|im_end|>\n<|im_start|>assistant\n"
    prompt = tokenizer(asked)["input_ids"]
    whole = tokenizer(f"{asked}{pair[side][0]['content']}<|im_end|>\n")["input_ids"]
    return prompt, whole[len(prompt) :]


def tokenised_pairs(tokenizer: Any, pairs: Pairs) -> Dataset:
    return Dataset.from_list(
        [
            {
                "prompt_ids": tokens(tokenizer, pair, "chosen")[0],
                "chosen_ids": tokens(tokenizer, pair, "chosen")[1],
                "rejected_ids": tokens(tokenizer, pair, "rejected")[1],
                "chosen_probability": pair["chosen_probability"],
            }
            for pair in pairs
        ]
    )


def tokenised_rows(tokenizer: Any, pairs: Pairs) -> Dataset:
    rows = []
    for pair in pairs:
        prompt, answer = tokens(tokenizer, pair, "chosen")
        mask = [0] * len(prompt) + [1] * len(answer)
        rows.append({"input_ids": prompt + answer, "completion_mask": mask})
    return Dataset.from_list(rows)


@pytest.mark.parametrize("precomputed", [False, True])
def test_pairs_as_tokens_train_as_their_texts_do(
    precomputed: bool, make: Make, tiny: Path, tokenizer: Any, pairs: Pairs
) -> None:
    rows = tokenised_pairs(tokenizer, pairs)
    args = settings(DPOConfig, precompute_ref_log_probs=precomputed)
    trainer = dpo_trainer(tiny, None, args, rows, rows, tokenizer, adapter(), loss="soft")
    if not precomputed:
        assert trainer.train_dataset is rows
    losses, weights = trained(trainer)
    expected = trained(make("adapter", "soft", precompute_ref_log_probs=precomputed))
    assert losses == expected[0]
    assert same(weights, expected[1])
    assert math.isfinite(trainer.evaluate()["eval_loss"])


@pytest.mark.parametrize("max_length", [512, 30])
def test_demonstrations_as_tokens_train_as_their_texts_do(
    max_length: int, tiny: Path, tokenizer: Any, pairs: Pairs
) -> None:
    texts = [{"prompt": pair["prompt"], "completion": pair["chosen"]} for pair in pairs]
    found = []
    for rows in (Dataset.from_list(texts), tokenised_rows(tokenizer, pairs)):
        args = settings(SFTConfig, max_length=max_length)
        trainer = sft_trainer(tiny, args, rows, rows, tokenizer, adapter())
        found.append((*trained(trainer), trainer.evaluate()["eval_loss"]))
    assert found[0][0] == found[1][0]
    assert same(found[0][1], found[1][1])
    assert found[0][2] == found[1][2]
