"""A folder with a journal: who may use it, and how it is opened."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

from cai.errors import CaiError
from cai.files import JOURNAL, Lock
from cai.runtime.journal import Journal


def has_journal(folder: str | Path) -> bool:
    return (Path(folder) / JOURNAL).is_file()


@contextmanager
def reading(folder: str | Path, hint: str) -> Iterator[Journal]:
    """The journal of a run, to read only.

    Raises:
        CaiError: There is none; `hint` says which folder is asked for.
    """
    if not has_journal(folder):
        raise CaiError(f"{folder}: not a run folder", hint)
    journal = Journal(Path(folder) / JOURNAL, readonly=True)
    try:
        yield journal
    finally:
        journal.close()


@contextmanager
def working(folder: Path) -> Iterator[Journal]:
    """The journal of a folder that is ours alone; a new one that comes to nothing goes again.

    Raises:
        CaiError: Another process works there, it holds other things, it cannot be made, or the file
            is damaged.
    """
    new = not folder.exists()
    _refuse_foreign(folder)
    with ExitStack() as stack:
        try:
            lock = Lock(folder)
        except OSError as error:
            message = f"{folder}: {error.strerror or error}"
            raise CaiError(message, "Choose another --out, where you may write.") from error
        stack.callback(lock.release)
        journal = Journal(folder / JOURNAL)
        stack.callback(journal.close)
        try:
            yield journal
        except BaseException:
            if new and not journal.has_call("%"):
                shutil.rmtree(folder, ignore_errors=True)
            raise


def _refuse_foreign(folder: Path) -> None:
    """Raise `CaiError` if this is a file, or a folder of other things than a journal's."""
    if folder.exists() and not folder.is_dir():
        raise CaiError(f"{folder}: a file, not a folder", "Choose another --out.")
    if not folder.exists() or has_journal(folder):
        return
    begun = f".{JOURNAL}.new"  # left by one that was killed when it had just begun
    names = [path.name for path in folder.iterdir()]
    foreign = [name for name in names if name != ".lock" and not name.startswith(begun)]
    if foreign:
        raise CaiError(
            f"{folder}: holds other files ({foreign[0]}) and is not a run folder",
            "Choose an empty or new folder for --out.",
        )
