"""SFT by TRL's trainer, on texts or on rows that are tokens already."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from datasets import Dataset
from peft import PeftConfig
from transformers import PreTrainedModel, PreTrainedTokenizerBase, TrainerCallback
from trl import SFTConfig, SFTTrainer

from cai.errors import CaiError
from cai.train.mixins import AsTokens, Checkpoints, Updates
from cai.train.reference import saved_at, to_train
from cai.train.rows import DEMONSTRATION_COLUMNS, MASK, require_columns, without_loading


class CaiSFTTrainer(Checkpoints, Updates, AsTokens, SFTTrainer):  # type: ignore[misc]
    """TRL's trainer on demonstrations; rows that are tokens already are taken as they are.

    Their columns are `input_ids` and `completion_mask`; what lies above `max_length` is cut off.
    """

    columns, own_column = DEMONSTRATION_COLUMNS, MASK
    data_collator: Any

    def __init__(self, **arguments: Any) -> None:
        super().__init__(**arguments)
        self.data_collator = _WithLabels(self.data_collator, self.args.max_length)

    def _leave_out(self, batch: dict[str, Any], after: int) -> None:
        batch["labels"][after:] = -100


def sft_trainer(
    model: str | Path | PreTrainedModel,
    args: SFTConfig,
    train: Dataset,
    eval: Dataset | None,
    tokenizer: PreTrainedTokenizerBase,
    peft_config: PeftConfig | None = None,
    *,
    callbacks: Sequence[TrainerCallback] = (),
) -> CaiSFTTrainer:
    """A trainer on demonstrations; only tokens of the completions are learnt.

    Args:
        model: As in `dpo_trainer`.
        args: TRL's settings.
        train: Rows with `prompt` and `completion` (lists of messages), or with `input_ids` and
            `completion_mask` (tokens, and 1 for those that are learnt).
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
            require_columns(rows, DEMONSTRATION_COLUMNS)
    if args.completion_only_loss is False:
        raise CaiError("completion_only_loss is off: prompts would be learnt too", "Leave it out.")
    loaded = to_train(model, saved_at(model, None), args, peft_config)
    return CaiSFTTrainer(
        model=loaded,
        args=without_loading(args),
        train_dataset=train,
        eval_dataset=eval,
        processing_class=tokenizer,
        peft_config=peft_config,
        callbacks=list(callbacks),
    )


class _WithLabels:
    """A collator that turns the mask of a row of tokens into the labels that another pads."""

    def __init__(
        self, collator: Callable[[list[dict[str, Any]]], dict[str, Any]], longest: int | None
    ) -> None:
        self._collator, self._longest = collator, longest

    def __call__(self, rows: list[dict[str, Any]]) -> dict[str, Any]:
        return self._collator([row if "labels" in row else self._labelled(row) for row in rows])

    def _labelled(self, row: dict[str, Any]) -> dict[str, Any]:
        pairs = zip(row["input_ids"], row[MASK], strict=True)
        labels = [token if learnt else -100 for token, learnt in pairs]
        return {"input_ids": row["input_ids"][: self._longest], "labels": labels[: self._longest]}
