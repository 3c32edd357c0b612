"""What both trainers do otherwise: checkpoints, updates that end an epoch, rows of tokens."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, ClassVar

import torch
from datasets import Dataset
from transformers import PreTrainedModel, Trainer

from cai.errors import CaiError
from cai.train.rows import tokenised


class Checkpoints(Trainer):  # type: ignore[misc]
    """Checkpoints that a full training can go on from, whatever its class calls its tensors."""

    def _save(self, output_dir: str | None = None, state_dict: Any = None) -> None:
        """Transformers', with the names that the model has in memory.

        Where a class renames its tensors or joins them on loading, `save_pretrained` turns that
        back, and a resume, which loads plain names, would go on from the base without a word.
        """
        if not isinstance(self.model, PreTrainedModel):  # an adapter
            super()._save(output_dir, state_dict)
            return
        conversions = getattr(self.model, "_weight_conversions", None)
        self.model._weight_conversions = []
        try:
            super()._save(output_dir, state_dict)
        finally:
            self.model._weight_conversions = conversions

    def _issue_warnings_after_load(self, load_result: Any) -> None:
        """An error, where transformers warns: what a resume does not find stays the base's."""
        tied = getattr(self.model, "all_tied_weights_keys", None) or {}
        faults = {*load_result.missing_keys, *load_result.unexpected_keys} - tied.keys()
        if faults:
            raise CaiError(
                f"the checkpoint does not fit the model: {min(faults)}",
                "Start anew with another --out.",
            )


class Updates(Trainer):  # type: ignore[misc]
    """Updates in which each row counts once, however many processes and batches it is split into.

    The last update of an epoch may have fewer rows than the others. Then accelerate fills batches
    up with the first rows of the epoch until all processes have as many; these are left out.
    """

    rows_in_update: int | None = None

    def get_batch_samples(
        self, epoch_iterator: Iterator[Any], num_batches: int, device: torch.device
    ) -> tuple[list[Any], Any]:
        batches, items = super().get_batch_samples(epoch_iterator, num_batches, device)
        size, processes = self._train_batch_size, self.accelerator.num_processes
        self.rows_in_update = len(batches) * size * processes
        over = len(self.train_dataset) % (size * processes)
        if batches and over and self.accelerator.gradient_state.end_of_dataloader:
            self.rows_in_update += over - size * processes
            self._leave_out(batches[-1], max(0, over - self.accelerator.process_index * size))
            items = self._get_num_items_in_batch(batches, device)
        return batches, items

    def _leave_out(self, batch: dict[str, Any], after: int) -> None:
        """Make nothing be learnt from the rows of a batch after the first so many."""
        raise NotImplementedError


class AsTokens(Trainer):  # type: ignore[misc]
    """Rows that are tokens already are taken as they are, with a column that TRL does not know."""

    columns: ClassVar[tuple[Sequence[str], Sequence[str]]]  # of texts, of tokens
    own_column: ClassVar[str]

    def _prepare_dataset(self, dataset: Dataset, *arguments: Any, **named: Any) -> Dataset:
        if tokenised(dataset, self.columns):
            return dataset
        return super()._prepare_dataset(dataset, *arguments, **named)

    def _set_signature_columns_if_needed(self) -> None:
        super()._set_signature_columns_if_needed()
        if self.own_column not in self._signature_columns:
            self._signature_columns.append(self.own_column)
