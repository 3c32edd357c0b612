"""What a run is made by: its settings, and what an older folder was started with."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from cai import files, templates
from cai.config import Settings, of_version
from cai.constitution.load import load as load_constitution
from cai.constitution.records import Constitution
from cai.dataset.made_by import last_method
from cai.errors import CaiError
from cai.generation.ingest import run_folder
from cai.method import Method, load_method
from cai.roles import on_its_day
from cai.runtime.folder import has_journal, reading


def method_of_run(settings: Settings, out: str | Path | None) -> tuple[Method, Path]:
    """The method of a run and its folder.

    A folder that another method version made keeps the settings, templates and constitution that
    it was started with, but for what is named anew.

    Raises:
        CaiError: A file cannot be read, or says what the folder's method version does not know.
    """
    method = load_method(settings)
    folder = run_folder(method, out)
    settings = on_its_day(settings, folder)
    last = _last(folder)
    if last is not None:
        settings = of_version(settings, last.settings)
    if last is None or not settings.method_version == last.version == 1:
        return replace(method, settings=settings), folder
    named = Path(settings.templates) if settings.templates is not None else None
    texts = {**last.templates.texts, **(templates.overrides(named) if named is not None else {})}
    method = replace(
        method,
        settings=settings,
        constitution=_constitution(settings, last),
        templates=templates.Templates(texts),
    )
    if method.constitution != last.constitution:
        _refuse_new_keys(method, folder)
    return method, folder


def _last(folder: Path) -> Method | None:
    """The method that the folder was last used for."""
    if not has_journal(folder):
        return None
    with reading(folder, "") as journal:
        return last_method(journal)[0] if journal.meta("settings") is not None else None


def _constitution(settings: Settings, last: Method) -> Constitution:
    """The stored one where the same shipped file is named: what ships changes with the package."""
    name = settings.constitution
    if name == last.settings.constitution and not Path(name).is_file():
        return last.constitution
    return load_constitution(files.find_constitution(name))


def _refuse_new_keys(method: Method, folder: Path) -> None:
    for principle in method.constitution.principles:
        new = "order" if principle.order != 1 else "check" if principle.check else None
        if new is not None:
            raise CaiError(
                f"{folder}: was started by method version 1, which knows no `{new}` "
                f"(principle {principle.id})",
                "Choose another --out, or make all its rows anew with --method-version 2.",
            )
