"""How every check asks its models: made once, on the folder's day, each call kept there."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Generic, Literal, NamedTuple, TypeVar

from cai.config import Role
from cai.engines.base import Engine
from cai.engines.labels import DEFAULT, Labels
from cai.errors import CaiError
from cai.method import Method
from cai.roles import expect, make_engines, on_its_day
from cai.runtime.calls import RowCalls
from cai.runtime.progress import Progress, Quiet
from cai.runtime.small_jobs import call_all

T = TypeVar("T")
R = TypeVar("R")


class Asked(NamedTuple, Generic[R]):
    """The results, in the order of the items, and who gave them."""

    results: list[R]
    engines: dict[str, Engine]
    labels: dict[str, Labels]

    def labels_of(self, role: Role) -> Labels:
        return self.labels.get(self.engines[role].identity, DEFAULT)


def ask_all(
    method: Method,
    roles: Sequence[Role],
    items: Sequence[tuple[str, T]],
    one: Callable[[T, RowCalls], Awaitable[R]],
    *,
    folder: Path,
    phase: str,
    engine: Engine | Mapping[str, Engine] | None = None,
    retry_failed: bool = False,
    progress: Progress | None = None,
) -> Asked[R]:
    """The result of `one` for each item (an id and a value); running again asks what is missing.

    Args:
        method: The words, and the settings that name the models.
        roles: Those that are asked; without any, no model is made.
        items: What is asked about.
        one: Asks about one of them.
        folder: Where the calls are kept, with the day of the models.
        phase: What the progress is called.
        engine: Models that are there already: one for all roles, or one by role.
        retry_failed: Ask again where a model could not answer.
        progress: Shows how far the job is.

    Raises:
        CaiError: The folder is in use or holds something else, or a model does not answer.
    """
    settings = on_its_day(method.settings, folder)
    there = make_engines(settings, engine) if roles else {}
    engines: dict[str, Engine] = {role: there[role] for role in roles}
    expect(engines, method)
    progress = progress or Quiet()
    progress.phase(phase, len(items))
    results, labels = call_all(
        folder,
        engines,
        items,
        one,
        seed=settings.seed,
        at_once=settings.max_open_rows,
        retry_failed=retry_failed,
        progress=progress,
        day=settings.date,
    )
    return Asked(results, engines, labels)


def folder_for(check: str, model: str) -> Path:
    """Where the check of a model is kept unless somebody says where."""
    name = "".join(c if c.isalnum() or c in "-._" else "-" for c in model)
    return Path("outputs") / check / name.strip("-.")[:80]


@contextmanager
def written_after(folder: Path, role: Role | Literal["writer"]) -> Iterator[None]:
    """Tell errors of the files of a result as ours: the answers themselves are kept."""
    try:
        yield
    except OSError as error:
        raise CaiError(
            f"{error.filename or folder}: {error.strerror or error}",
            f"The {role}'s answers are in the journal: mend it and run the same command again.",
        ) from error
