"""TRL's trainers with our losses and the right reference. Only this file knows TRL from inside.

TRL has no label of its own per pair, so `CaiDPOTrainer` carries the column `chosen_probability`
through to the loss, and lets TRL do the rest: tokens, batches, checkpoints, metrics.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from datasets import Dataset
from peft import PeftConfig
from torch import Tensor
from transformers import PreTrainedModel, PreTrainedTokenizerBase, TrainerCallback
from trl import DPOConfig, DPOTrainer, SFTConfig, SFTTrainer
from trl.trainer import dpo_trainer as trl_dpo
from trl.trainer.utils import create_model_from_path

from cai.errors import CaiError
from cai.train.losses import Loss, delta_of, nll, preference_loss

PROBABILITY = "chosen_probability"
PAIR_COLUMNS = ("prompt", "chosen", "rejected", PROBABILITY)
DEMONSTRATION_COLUMNS = ("prompt", "completion")
SAVE_FIRST = "Merge the adapter, save the model, and train from the path of its folder."

OverBatches = Callable[[Any], Iterable[Any]]

# TRL's own ways to change the loss, at the values that leave -log σ(β Δ) as it is.
_PLAIN_LOSS = {
    "loss_type": ["sigmoid"],
    "loss_weights": None,
    "label_smoothing": 0.0,
    "ld_alpha": None,
    "f_divergence_type": "reverse_kl",
    "use_weighting": False,
    "sync_ref_model": False,
}


class CaiDPOTrainer(DPOTrainer):  # type: ignore[misc]
    """DPO on soft labels: the loss of `cai.train.losses` in the place of TRL's.

    With `hard`, no weight on the likelihood and no normalisation it trains bit for bit as
    `DPOTrainer` does. Logged besides TRL's metrics: `preference_loss`, and `nll` if it has weight.

    Args:
        loss_kind: Which preference loss.
        nll_weight: Weight of the mean of -log pi per token of the chosen answers.
        length_normalised: Take log-ratios per token.
        over_batches: Shows how far the pass for the reference's log-probabilities is; TRL's own
            bar by default.
        arguments: As `DPOTrainer` takes them; the datasets have a column `chosen_probability`.

    Attributes:
        first_preference_loss: The preference loss of the first batch trained on, over all
            processes, without other terms; None until then. ln 2 in a fresh run.
        check_first_preference: Called with it, before anything is learnt from that batch.
    """

    data_collator: Any
    precompute_ref_logps: bool

    def __init__(
        self,
        *,
        loss_kind: Loss = "hard",
        nll_weight: float = 0.0,
        length_normalised: bool = False,
        over_batches: OverBatches | None = None,
        **arguments: Any,
    ) -> None:
        self.loss_kind = loss_kind
        self.nll_weight = nll_weight
        self.length_normalised = length_normalised
        self._over_batches = over_batches
        self.first_preference_loss: float | None = None
        self.check_first_preference: Callable[[float], None] | None = None
        _refuse_other_losses(arguments["args"])
        super().__init__(**arguments)
        self.data_collator = _WithProbability(self.data_collator)

    def _set_signature_columns_if_needed(self) -> None:
        super()._set_signature_columns_if_needed()
        if PROBABILITY not in self._signature_columns:
            self._signature_columns.append(PROBABILITY)

    def _precompute_ref_logps(self, dataset: Dataset, name: str, batch_size: int) -> Dataset:
        """TRL's, with the bar that was asked for in the place of its own."""
        over = self._over_batches
        if over is None:
            return super()._precompute_ref_logps(dataset, name, batch_size)
        of_trl, trl_dpo.tqdm = trl_dpo.tqdm, lambda iterable, **_: over(iterable)
        try:
            return super()._precompute_ref_logps(dataset, name, batch_size)
        finally:
            trl_dpo.tqdm = of_trl

    def compute_ref_log_probs(self, model: Any, inputs: dict[str, Any]) -> tuple[Tensor, Tensor]:
        """TRL's, without our column: it hands keys that it does not know to the model."""
        known = {key: value for key, value in inputs.items() if key != PROBABILITY}
        chosen, rejected = super().compute_ref_log_probs(model, known)
        return chosen, rejected

    def _compute_loss(self, model: Any, inputs: dict[str, Any], return_outputs: bool) -> Any:
        """Our loss from the log-probabilities that TRL computes its own loss and metrics from."""
        batch = dict(inputs)
        probability = batch.pop(PROBABILITY)
        forwarded: list[Any] = []
        precomputed = self.precompute_ref_logps

        def policy(**arguments: Any) -> Any:
            outputs = model(**arguments)
            # After the policy, as in TRL: where dropout is left on, the order of draws is the same.
            if not forwarded and not precomputed:
                reference = self.ref_model or self.model
                of_reference = self.compute_ref_log_probs(reference, batch)
                batch["ref_chosen_logps"], batch["ref_rejected_logps"] = of_reference
            forwarded.append(outputs)
            return outputs

        with self._reference_in_batch():
            of_trl = super()._compute_loss(policy, batch, return_outputs)
        loss = self._loss(forwarded[0], batch, probability)
        return (loss, of_trl[1]) if return_outputs else loss

    @contextmanager
    def _reference_in_batch(self) -> Iterator[None]:
        """Have TRL read the reference's log-probabilities from the batch, not compute them."""
        precomputed, self.precompute_ref_logps = self.precompute_ref_logps, True
        try:
            yield
        finally:
            self.precompute_ref_logps = precomputed

    def _loss(self, outputs: Any, batch: dict[str, Any], probability: Tensor) -> Tensor:
        scored = batch["completion_mask"][:, 1:]  # the token at i + 1 is scored at i
        # Chosen answers are the first half of a batch, rejected ones the second, in the same order.
        chosen, rejected = outputs.log_probs[:, -scored.size(1) :].sum(dim=1).chunk(2)
        lengths = scored.sum(dim=1).chunk(2)
        delta = delta_of(
            chosen,
            rejected,
            batch["ref_chosen_logps"],
            batch["ref_rejected_logps"],
            lengths if self.length_normalised else None,
        )
        preference = preference_loss(delta, probability, self.beta, self.loss_kind)
        self._see_first(self._note("preference_loss", preference))
        loss = preference.mean()
        if self.nll_weight:
            of_chosen = nll(chosen, lengths[0])
            self._note("nll", of_chosen)
            loss = loss + self.nll_weight * of_chosen.mean()
        if self.aux_loss_enabled:  # mixtures of experts: TRL's term that balances their load
            loss = loss + self.router_aux_loss_coef * outputs.aux_loss
        return loss

    def _note(self, name: str, values: Tensor) -> float:
        """Log the mean of a value per pair over all processes."""
        mean = float(self.accelerator.gather(values.detach()).mean())
        self._metrics["train" if self.model.training else "eval"][name].append(mean)
        return mean

    def _see_first(self, loss: float) -> None:
        if self.first_preference_loss is None and self.model.training:
            self.first_preference_loss = loss
            if self.check_first_preference is not None:
                self.check_first_preference(loss)


class _WithProbability:
    """A collator that adds the label of each pair to the batch that another makes."""

    def __init__(self, collator: Callable[[list[dict[str, Any]]], dict[str, Any]]) -> None:
        self._collator = collator

    def __call__(self, rows: list[dict[str, Any]]) -> dict[str, Any]:
        labels = torch.tensor([row[PROBABILITY] for row in rows], dtype=torch.float32)
        return {**self._collator(rows), PROBABILITY: labels}


def dpo_trainer(
    model: str | Path | PreTrainedModel,
    reference: str | Path | None,
    args: DPOConfig,
    train: Dataset,
    eval: Dataset | None,
    tokenizer: PreTrainedTokenizerBase,
    peft_config: PeftConfig | None = None,
    *,
    loss: Loss = "hard",
    nll_weight: float = 0.0,
    length_normalised: bool = False,
    over_batches: OverBatches | None = None,
    callbacks: Sequence[TrainerCallback] = (),
) -> CaiDPOTrainer:
    """A trainer for preferences whose reference is the model as it is saved.

    With an adapter the reference is the model with the adapter off. Otherwise it is a second,
    frozen copy, loaded from the same folder; where its log-probabilities are precomputed, they are
    taken before the first step and no copy is kept.

    Args:
        model: The folder of a whole saved model (or its name on the Hub), loaded with
            `args.model_init_kwargs`, in float32 if these name no dtype; or a loaded model.
        reference: Where a model given loaded is saved, if its `name_or_path` does not say so.
        args: TRL's settings; its options for other losses must be left alone.
        train: Rows with `prompt`, `chosen` and `rejected` (lists of messages) and
            `chosen_probability`, 0.5 to 1. To precompute in several processes: one that is read
            from the same file in all of them.
        eval: The same.
        tokenizer: With a chat template.
        peft_config: The adapter to train; None trains all weights.
        loss: Which preference loss, see `cai.train.losses`.
        nll_weight: Weight of the mean of -log pi per token of the chosen answers.
        length_normalised: Take log-ratios per token.
        over_batches: As in `CaiDPOTrainer`.
        callbacks: Called while it trains.

    Raises:
        CaiError: The model is an adapter or has one, is not what its folder holds, or has another
            reference; a column is missing or a label is none; the settings ask for another loss.
    """
    for rows in (train, eval):
        if rows is not None:
            _require(rows, PAIR_COLUMNS)
            _require_labels(rows)
            _require_file(rows, args)
    saved = _saved_at(model, reference)
    frozen = None
    if peft_config is None and not args.precompute_ref_log_probs:
        frozen = _as_saved(saved, model, args).eval().requires_grad_(False)
    if isinstance(model, PreTrainedModel):
        _require_same(model, saved, _as_saved(saved, model, args) if frozen is None else frozen)
        model.name_or_path = saved  # an adapter that is saved names its base by this
    return CaiDPOTrainer(
        model=str(model) if isinstance(model, Path) else model,
        ref_model=frozen,
        args=args,
        train_dataset=train,
        eval_dataset=eval,
        processing_class=tokenizer,
        peft_config=peft_config,
        callbacks=list(callbacks),
        loss_kind=loss,
        nll_weight=nll_weight,
        length_normalised=length_normalised,
        over_batches=over_batches,
    )


def sft_trainer(
    model: str | Path | PreTrainedModel,
    args: SFTConfig,
    train: Dataset,
    eval: Dataset | None,
    tokenizer: PreTrainedTokenizerBase,
    peft_config: PeftConfig | None = None,
    *,
    callbacks: Sequence[TrainerCallback] = (),
) -> SFTTrainer:
    """TRL's trainer on demonstrations; only tokens of the completions are learnt.

    Args:
        model: As in `dpo_trainer`.
        args: TRL's settings.
        train: Rows with `prompt` and `completion`, lists of messages.
        eval: The same.
        tokenizer: With a chat template.
        peft_config: The adapter to train; None trains all weights.
        callbacks: Called while it trains.

    Raises:
        CaiError: The model is an adapter or has one, or is not what its folder holds; a column is
            missing; the settings would train on prompts too.
    """
    for rows in (train, eval):
        if rows is not None:
            _require(rows, DEMONSTRATION_COLUMNS)
    if args.completion_only_loss is False:
        raise CaiError("completion_only_loss is off: prompts would be learnt too", "Leave it out.")
    saved = _saved_at(model, None)
    if isinstance(model, PreTrainedModel):
        _require_same(model, saved, _as_saved(saved, model, args))
    return SFTTrainer(
        model=str(model) if isinstance(model, Path) else model,
        args=args,
        train_dataset=train,
        eval_dataset=eval,
        processing_class=tokenizer,
        peft_config=peft_config,
        callbacks=list(callbacks),
    )


def _refuse_other_losses(args: DPOConfig) -> None:
    changed = [name for name, plain in _PLAIN_LOSS.items() if getattr(args, name) != plain]
    if changed:
        raise CaiError(
            f"TRL's {', '.join(changed)} would change the loss or its reference",
            "Leave them out, and choose with loss, nll_weight and length_normalised.",
        )


def _require(rows: Dataset, columns: Sequence[str]) -> None:
    missing = [column for column in columns if column not in rows.column_names]
    if missing:
        raise CaiError(
            f"the data has no {', '.join(missing)}", f"Its columns must be {', '.join(columns)}."
        )
    if not len(rows):
        raise CaiError("the data has no rows")


def _require_labels(rows: Dataset) -> None:
    for place, label in enumerate(rows[PROBABILITY][:]):
        if label is None or not 0.5 <= label <= 1:
            raise CaiError(
                f"row {place}: {PROBABILITY} is {label}",
                "It must be 0.5 to 1; where it is less, swap chosen and rejected.",
            )


def _require_file(rows: Dataset, args: DPOConfig) -> None:
    """TRL hands precomputed values from process to process in a file beside the data's."""
    if args.precompute_ref_log_probs and args.world_size > 1 and not rows.cache_files:
        raise CaiError(
            "the reference cannot be precomputed in several processes on data in memory",
            "Write the data to a file and load it from there.",
        )


def _saved_at(model: str | Path | PreTrainedModel, reference: str | Path | None) -> str:
    """Where the whole model lies that is trained and that is the reference."""
    if isinstance(model, str | Path):
        saved = str(model)
        if reference is not None and Path(reference).resolve() != Path(model).resolve():
            raise CaiError(
                f"{reference}: another reference than the model that is trained, {model}",
                "Leave the reference out: DPO starts from its reference.",
            )
    elif not isinstance(model, PreTrainedModel) or _has_adapter(model):
        raise CaiError("the model has an adapter, and a whole one is needed", SAVE_FIRST)
    else:
        saved = str(reference or model.name_or_path)
        if not saved:
            raise CaiError("the model lies in no folder", SAVE_FIRST)
    if (Path(saved) / "adapter_config.json").is_file():
        raise CaiError(f"{saved}: an adapter, and a whole model is needed", SAVE_FIRST)
    return saved


def _has_adapter(model: PreTrainedModel) -> bool:
    from peft.tuners.tuners_utils import BaseTunerLayer

    return any(isinstance(module, BaseTunerLayer) for module in model.modules())


def _as_saved(saved: str, model: Any, args: DPOConfig | SFTConfig) -> Any:
    """A copy from the folder, loaded as TRL loads a model that it is given by its path."""
    chosen = dict(args.model_init_kwargs or {})
    chosen.setdefault("trust_remote_code", args.trust_remote_code)
    if args.distributed_state.distributed_type in ("MULTI_GPU", "DEEPSPEED"):
        chosen["device_map"] = None  # "auto" would spread each process's copy over all GPUs
    if isinstance(model, PreTrainedModel):
        chosen |= {"dtype": model.dtype, "attn_implementation": model.config._attn_implementation}
    return create_model_from_path(saved, **chosen)


def _require_same(model: PreTrainedModel, saved: str, copy: Any) -> None:
    """Refuse a model merged or trained in memory: another one is where the adapter will point."""
    held, kept = model.state_dict(), copy.state_dict()
    if held.keys() != kept.keys() or not all(
        torch.equal(tensor.cpu(), kept[name].cpu()) for name, tensor in held.items()
    ):
        raise CaiError(f"the model in memory is not the one in {saved}", SAVE_FIRST)
