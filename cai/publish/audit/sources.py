"""What an audit is of: folders, files and datasets of the Hub, each by a name."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Literal, NamedTuple

from cai.dataset.schema import ANSWERS
from cai.errors import CaiError
from cai.sources.hub import HUB_HINT, hub, hub_spec

TRAINING, MANIFEST = "training.json", "manifest.json"
HUB = "hf:"
_HINT = "Give a run folder, the folder of cai train, or hf:owner/name of what cai push sent."


class Source(NamedTuple):
    """A part of an audit.

    Attributes:
        kind: A run, a trained model, or a file of rows.
        path: Where it is.
        commit: Of the Hub, if it is from there.
    """

    kind: Literal["run", "model", "file"]
    path: Path
    commit: str | None = None


class Sources:
    """The parts of an audit by name, and what the data of each model is among them.

    What is on the Hub is there while the sources are open.

    Args:
        source: A run folder, the folder of a training, or `hf:owner/name[@revision][:config]`.

    Raises:
        CaiError: It is none of these, or cannot be read.
    """

    def __init__(self, source: str | Path) -> None:
        self.parts: dict[str, Source] = {}
        self._names: dict[tuple[Path, str], str] = {}
        self._stack = ExitStack()
        try:
            self._find(str(source))
        except BaseException:
            self._stack.close()
            raise

    def __enter__(self) -> Sources:
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    def data_of(self, model: Path, name: str) -> str | None:
        """Under which name a source of a model's training is a part; None: it is not here."""
        return self._names.get((model, name))

    def _find(self, source: str) -> None:
        if source.startswith(HUB):
            self._add(source, self._from_hub(source))
            return
        folder: Path | None = Path(source).resolve()
        if not (Path(source) / TRAINING).is_file():
            if not (Path(source) / MANIFEST).is_file():
                raise CaiError(f"{source}: neither a finished run nor a trained model", _HINT)
            self._add(Path(source).resolve().name, Source("run", Path(source).resolve()))
            return
        models: list[Path] = []
        while folder is not None and (folder / TRAINING).is_file() and folder not in models:
            models.append(folder)
            folder = _seen_from(folder, read_training(folder)["settings"].get("model"), TRAINING)
        for model in models:
            self._add(model.name, Source("model", model))
        for model in models:
            for name in data_names(read_training(model)):
                part = self._data(model, name)
                if part is not None:
                    short = name if part.commit is not None else part.path.name
                    self._names[model, name] = self._add(short, part)

    def _add(self, name: str, part: Source) -> str:
        """Take a part once; the second of a name gets a number."""
        for other, old in self.parts.items():
            if old.path == part.path or (part.commit is not None and other == name):
                return other
        same = sum(other == name or other.startswith(f"{name}-") for other in self.parts)
        name = f"{name}-{same + 1}" if name in self.parts else name
        self.parts[name] = part
        return name

    def _data(self, model: Path, name: str) -> Source | None:
        """What a training read, as far as it is here."""
        if name.startswith(HUB) and not Path(hub_spec(name).name).is_dir():
            try:
                return self._from_hub(name)
            except CaiError:  # of others, or no network: the model's part says that it is not here
                return None
        name = name.removeprefix(HUB)
        run = _seen_from(model, name, MANIFEST)
        if run is not None:
            return Source("run", run)
        file = _seen_from(model, name)
        return Source("file", file) if file is not None else None

    def _from_hub(self, source: str) -> Source:
        """What `cai push` sent, with the rows of one config if one is named."""
        spec = hub_spec(source)
        if Path(spec.name).is_dir():
            raise CaiError(f"{source}: a folder, and not on the Hub", f"Give it as {spec.name}.")
        with hub(source):
            from huggingface_hub import hf_hub_download, snapshot_download
            from huggingface_hub.errors import EntryNotFoundError, LocalEntryNotFoundError

            where: dict[str, Any] = {"repo_type": "dataset", "revision": spec.revision}
            try:
                manifest = Path(hf_hub_download(spec.name, MANIFEST, **where))
            except LocalEntryNotFoundError:  # no network, which is told as that
                raise
            except EntryNotFoundError:
                raise CaiError(f"{source}: not what cai push sent: no {MANIFEST}", _HINT) from None
            where["revision"] = commit = manifest.parent.name
            # The traces, if they are there, say where the prompts of rows are from.
            others = [name for name in ANSWERS if spec.config not in (None, name)]
            folder = Path(
                snapshot_download(
                    spec.name, ignore_patterns=[f"{name}/*" for name in others], **where
                )
            )
        if spec.config is None:
            return Source("run", folder, commit)
        if spec.config not in ANSWERS or not (folder / spec.config).is_dir():
            raise CaiError(f"{source}: has no {spec.config}", HUB_HINT)
        return Source("run", self._stack.enter_context(_only(folder, others)), commit)


@contextmanager
def _only(folder: Path, without: list[str]) -> Iterator[Path]:
    """A folder of links to what is in another one, without some of its folders."""
    with TemporaryDirectory(prefix="cai-audit-") as place:
        for path in folder.iterdir():
            if path.name not in without:
                (Path(place) / path.name).symlink_to(path.resolve(), path.is_dir())
        yield Path(place)


def read_training(folder: Path) -> dict[str, Any]:
    """What a training wrote about itself.

    Raises:
        CaiError: It is damaged.
    """
    path = folder / TRAINING
    try:
        record: dict[str, Any] = json.loads(path.read_bytes())
        if not isinstance(record["settings"]["data"], str) or not isinstance(record["data"], dict):
            raise TypeError
    except (ValueError, KeyError, TypeError):
        raise CaiError(f"{path}: damaged", "Give another folder of cai train.") from None
    return record


def data_names(record: Mapping[str, Any]) -> list[str]:
    """The sources of a training: the main data, and each mix; as the user named them."""
    mixes = [source.get("origin") for source in record["data"].get("sources", ())[1:]]
    return [record["settings"]["data"], *(name for name in mixes if name)]


def _seen_from(folder: Path, name: str | None, file: str = "") -> Path | None:
    """A file, or a folder with one, by a name that is seen from here or from above a model."""
    if not name or name.startswith(HUB):
        return None
    places = [Path(name), *(parent / name for parent in folder.resolve().parents)]
    return next((p.resolve() for p in places if (p / file).is_file()), None)
