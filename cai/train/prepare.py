"""Tokenizer, chat format and rows of a training, settled before a model is loaded."""

from __future__ import annotations

from datetime import date
from pathlib import Path
from typing import Any

import yaml

from cai.engines.local import chat_template
from cai.engines.local.chat_template import today
from cai.errors import CaiError
from cai.train.chat import ChatFormat, settle_template
from cai.train.config import TrainSettings
from cai.train.data.load import TrainData, load_rows
from cai.train.encoding import Encoder


def load_tokenizer(
    settings: TrainSettings, base: Path, trained_with: str | None
) -> tuple[Any, ChatFormat]:
    """The tokenizer of the model in `base`, and how it is trained to talk.

    Raises:
        CaiError: As in `settle_template`.
    """
    tokenizer = chat_template.load_tokenizer(base)
    template = settings.chat_template
    day = settings.date
    return tokenizer, settle_template(tokenizer, settings.model, base, template, trained_with, day)


def rows_of(settings: TrainSettings, chat_format: ChatFormat, cache: Path) -> TrainData:
    """The rows as ids. Raises `CaiError` as `load_rows` does."""
    return load_rows(settings, Encoder(chat_format.chat, chat_format.end), cache)


def on_its_day(settings: TrainSettings, stood: str | None = None) -> TrainSettings:
    """The settings with a date: their own, that of the run to go on with, the data's, or today's.

    Args:
        settings: The settings of a training.
        stood: The date of the training that is gone on with.

    Raises:
        CaiError: The data's configuration holds a date that is none.
    """
    if settings.date is not None:
        return settings
    written = stood or _date_of_data(settings.data)
    day = date.fromisoformat(written) if written else today()
    return settings.model_copy(update={"date": day})


def _date_of_data(data: str) -> str | None:
    """The date that a run's prompts were filled in with."""
    config = Path(data) / "config.yaml"
    if not config.is_file():
        return None
    try:
        settings = yaml.safe_load(config.read_text("utf-8"))
        value = settings.get("date") if isinstance(settings, dict) else None
        return None if value is None else date.fromisoformat(str(value)).isoformat()
    except (OSError, ValueError, yaml.YAMLError) as error:
        raise CaiError(f"{config}: {error}", "Run the same cai generate command again.") from None
