"""DPO by TRL's trainer, with our losses and the right reference.

TRL has no label of its own per pair, so `CaiDPOTrainer` carries the column `chosen_probability`
through to the loss, and lets TRL do the rest: tokens, batches, checkpoints, metrics. Only this
file, sft.py and mixins.py know TRL from inside; tests/train/test_contract.py holds what they know.
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
from trl import DPOConfig, DPOTrainer
from trl.trainer import dpo_trainer as trl_dpo

from cai.errors import CaiError
from cai.train.data.columns import PROBABILITY
from cai.train.losses import Loss, delta_of, nll, preference_loss
from cai.train.mixins import AsTokens, Checkpoints, Updates
from cai.train.reference import with_reference
from cai.train.rows import PAIR_COLUMNS, require_pairs, without_loading

_LEFT_OUT = -1.0  # the label of a pair that only fills a batch

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


class CaiDPOTrainer(Checkpoints, Updates, AsTokens, DPOTrainer):  # type: ignore[misc]
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

    columns, own_column = PAIR_COLUMNS, PROBABILITY
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

    def _leave_out(self, batch: dict[str, Any], after: int) -> None:
        batch[PROBABILITY][after:] = _LEFT_OUT

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
        of_trl = {key: value for key, value in inputs.items() if key != PROBABILITY}
        chosen, rejected = super().compute_ref_log_probs(model, of_trl)
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
        weight = self._weights(probability)
        preference = preference_loss(delta, probability, self.beta, self.loss_kind)
        self._see_first(self._note("preference_loss", preference, weight))
        loss = (preference * weight).mean()
        if self.nll_weight:
            of_chosen = nll(chosen, lengths[0])
            self._note("nll", of_chosen, weight)
            loss = loss + self.nll_weight * (of_chosen * weight).mean()
        if self.aux_loss_enabled:  # mixtures of experts: TRL's term that balances their load
            loss = loss + self.router_aux_loss_coef * outputs.aux_loss
        return loss

    def _weights(self, probability: Tensor) -> Tensor:
        """What makes the mean over a batch, then over batches and processes, one over all pairs.

        1 but in an update whose batches are not all full.
        """
        here = (probability != _LEFT_OUT).to(probability.dtype)
        if self.rows_in_update is None or not self.model.training:
            return here
        batches = self.current_gradient_accumulation_steps * self.accelerator.num_processes
        weight: Tensor = here * (len(probability) * batches / self.rows_in_update)
        return weight

    def _note(self, name: str, values: Tensor, weight: Tensor) -> float:
        """Log the mean of a value per pair over all processes."""
        counts = (weight > 0).to(values.dtype)
        pairs = self.accelerator.gather(torch.stack([values.detach() * counts, counts], dim=1))
        mean = float(pairs[:, 0].sum() / pairs[:, 1].sum())
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
        train: Rows with `prompt`, `chosen` and `rejected` (lists of messages), or with
            `prompt_ids`, `chosen_ids` and `rejected_ids` (tokens), and `chosen_probability`, 0.5
            to 1. To precompute in several processes: one that is read from the same file in all.
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
            require_pairs(rows, args)
    policy, frozen = with_reference(model, reference, args, peft_config)
    return CaiDPOTrainer(
        model=policy,
        ref_model=frozen,
        args=without_loading(args),
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


def _refuse_other_losses(args: DPOConfig) -> None:
    changed = [name for name, plain in _PLAIN_LOSS.items() if getattr(args, name) != plain]
    if changed:
        raise CaiError(
            f"TRL's {', '.join(changed)} would change the loss or its reference",
            "Leave them out, and choose with loss, nll_weight and length_normalised.",
        )
