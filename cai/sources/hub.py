"""Datasets of the Hub, or a local copy of one: rows, and where each stands."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, NamedTuple

from cai.errors import CaiError
from cai.sources.files import Columns, SourceRow
from cai.sources.wording import first_line, listed

HUB_HINT = (
    "Write hf:owner/name[@revision][:config][:split][:column]. A gated dataset needs"
    " `hf auth login`; without a network, give the folder of a local copy: hf:/path."
)


class HubSpec(NamedTuple):
    """The parts of `hf:owner/name[@revision][:config][:split][:column]`; None: not given."""

    name: str
    revision: str | None
    config: str | None
    split: str | None
    column: str | None


def hub_spec(source: str) -> HubSpec:
    """The parts of a dataset's name.

    Raises:
        CaiError: It has none, or too many.
    """
    name, *rest = source.removeprefix("hf:").split(":")
    if not name or len(rest) > 3:
        raise CaiError(f"{source}: not the name of a dataset", HUB_HINT)
    config, split, column = (*rest, "", "", "")[:3]
    revision = ""
    if not Path(name).is_dir():
        name, _, revision = name.partition("@")
    return HubSpec(name, revision or None, config or None, split or None, column or None)


@contextmanager
def hub(source: str) -> Iterator[None]:
    """Telemetry off, and what goes wrong inside is a `CaiError`."""
    try:
        import datasets
        import huggingface_hub as hub
        from huggingface_hub.errors import HTTPError  # type: ignore[attr-defined]  # of its client
    except ImportError as error:
        hint = "Install them: pip install datasets huggingface_hub"
        raise CaiError(f"{source}: needs datasets and huggingface_hub ({error})", hint) from error
    hub.constants.HF_HUB_DISABLE_TELEMETRY = True
    datasets.config.HF_UPDATE_DOWNLOAD_COUNTS = False
    errors = (OSError, ValueError, RuntimeError, datasets.exceptions.DatasetsError, HTTPError)
    try:
        yield
    except errors as error:
        spec = hub_spec(source)
        configs: list[str] = []
        if spec.config is None:
            with suppress(*errors):
                configs = datasets.get_dataset_config_names(spec.name, revision=spec.revision)
        which = f" Its configs are: {listed(configs)}." if len(configs) > 1 else ""
        raise CaiError(f"{source}: {first_line(error)}{which}", HUB_HINT) from error


def hub_rows(source: str, columns: Columns) -> Iterator[SourceRow]:
    """The rows of one split (train, if none is named), streamed.

    Args:
        source: `hf:…`, as in `hub_spec`.
        columns: Chooses the columns that are read.

    Raises:
        CaiError: The dataset cannot be loaded, or its columns are others.
    """
    spec = hub_spec(source)
    with hub(source):
        from datasets import load_dataset

        data = load_dataset(
            spec.name,
            spec.config,
            split=spec.split or "train",
            revision=spec.revision,
            streaming=True,
        )
        if data.column_names is not None:
            data = data.select_columns(list(columns(data.column_names, source)))
        for number, row in enumerate(data, 1):
            yield f"{source}: row {number}", row


def hub_splits(source: str, preferred: str) -> Mapping[str, Any]:
    """All splits of a dataset, as `datasets` has them; of several configs the preferred one.

    Raises:
        CaiError: The dataset cannot be loaded.
    """
    spec = hub_spec(source)
    with hub(source):
        import datasets

        bars = datasets.is_progress_bar_enabled()
        datasets.disable_progress_bars()
        try:
            config = spec.config
            if config is None and preferred in datasets.get_dataset_config_names(
                spec.name, revision=spec.revision
            ):
                config = preferred
            loaded: Mapping[str, Any] = datasets.load_dataset(
                spec.name, config, revision=spec.revision
            )
        finally:
            if bars:
                datasets.enable_progress_bars()
    return loaded
