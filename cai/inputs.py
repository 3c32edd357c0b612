"""What a run is made from: the method, the model, the prompts."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import cai.constitution
from cai import assets, templates
from cai.config import PROMPT_KEYS, Settings
from cai.engines.base import Engine
from cai.engines.naming import engine_for
from cai.prompts import read_prompts, source_digest
from cai.records import Failure, Prompt, digest
from cai.revision import Method


def load_method(settings: Settings) -> Method:
    """The constitution and the templates that settings name."""
    constitution = cai.constitution.load(assets.find_constitution(settings.constitution))
    override = Path(settings.templates) if settings.templates is not None else None
    return Method(constitution, templates.load(override), settings)


def make_engine(settings: Settings) -> Engine:
    return engine_for(
        settings.model,
        dtype=settings.dtype,
        device=settings.device,
        batch_size=settings.batch_size,
    )


def prompts_of(settings: Settings) -> Iterator[Prompt | Failure]:
    """The prompts of the settings and, in their place, those that cannot be used."""
    rejected: list[Failure] = []
    prompts = read_prompts(
        settings.prompts,
        prompt_column=settings.prompt_column,
        kind=settings.kind,
        rejected=rejected.append,
    )
    for prompt in prompts:
        yield from rejected
        rejected.clear()
        yield prompt
    yield from rejected


def digest_of_prompts(settings: Settings, known: Settings | None = None) -> str | None:
    """Digest of the prompts that settings name; None: as `known`, whose prompts have been copied.

    Files are compared by content. A dataset on the Hub is read once per run folder: going on needs
    no network, and another revision is another name.
    """
    name = settings.prompts.removeprefix("hf:")
    on_hub = name != settings.prompts and not Path(name.split(":")[0]).is_dir()
    if known is not None and on_hub:
        names = {key: getattr(settings, key) for key in PROMPT_KEYS}
        if names == {key: getattr(known, key) for key in PROMPT_KEYS}:
            return None
    read = source_digest(settings.prompts, prompt_column=settings.prompt_column, kind=settings.kind)
    return digest([read, settings.limit])
