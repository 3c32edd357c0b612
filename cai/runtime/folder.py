"""The folder of a job: its journal, and who may use it."""

from __future__ import annotations

import shutil
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path

from cai.errors import CaiError
from cai.files import Lock
from cai.runtime.journal import Journal


def refuse_foreign(folder: Path) -> None:
    """Raise `CaiError` if this is a file, or a folder of other things than a journal's."""
    if folder.exists() and not folder.is_dir():
        raise CaiError(f"{folder}: a file, not a folder", "Choose another --out.")
    if not folder.exists() or (folder / "calls.sqlite").is_file():
        return
    foreign = [p.name for p in folder.iterdir() if p.name != ".lock"]
    if foreign:
        raise CaiError(
            f"{folder}: holds other files ({foreign[0]}) and is not a run folder",
            "Choose an empty or new folder for --out.",
        )


@contextmanager
def opened(folder: Path, reuse: Sequence[str | Path]) -> Iterator[tuple[Journal, list[Journal]]]:
    """The journals of a run and of those it reuses; a folder that comes to nothing goes again."""
    new = not folder.exists()
    refuse_foreign(folder)
    others = []
    for path in reuse:
        if not (Path(path) / "calls.sqlite").is_file():
            raise CaiError(f"{path}: not a run folder", "--reuse takes the folder of a run.")
        others.append(Journal(Path(path) / "calls.sqlite", readonly=True))
    with ExitStack() as stack:
        for other in others:
            stack.callback(other.close)
        lock = Lock(folder)
        stack.callback(lock.release)
        journal = Journal(folder / "calls.sqlite")
        stack.callback(journal.close)
        try:
            yield journal, others
        except BaseException:
            if new and not journal.has_call("%"):
                shutil.rmtree(folder, ignore_errors=True)
            raise
