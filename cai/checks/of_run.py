"""What is stored of the checks of the judge and the critic that made a run."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from cai import templates
from cai.checks import critic_results, results
from cai.config import stored_settings
from cai.constitution.load import load as load_constitution
from cai.dataset.made_by import last_method
from cai.dataset.run import Run
from cai.errors import CaiError
from cai.method import Method
from cai.runtime.folder import has_journal, reading
from cai.settings import read_config

_FIGURES = (
    *("key", "model", "scored", "unscored", "accuracy", "accuracy_interval", "consistency"),
    *("verdict", "words"),
)


def checks_of_run(folder: Path) -> dict[str, dict[str, Any]]:
    """By role the state that a run knew of its model, and the figures of a check on this machine.

    A role that the run did not have is left out; `check` is None where no result is stored here.

    Raises:
        CaiError: It is no finished run, or a stored result is damaged.
    """
    manifest = Run.load(folder).manifest
    method = _method(folder)
    if method is None:
        return {}
    checks: dict[str, dict[str, Any]] = {}
    judge, critic = manifest.models.get("judge"), manifest.models.get("critic")
    if judge is not None and method.sources:
        result = results.stored(results.judge_key(method, judge))
        figures = result.model_dump(mode="json") if result is not None else None
        checks["judge"] = {"known": manifest.judge, "check": _of(figures)}
    if critic is not None and "critic" in method.roles:
        ways = ("assessment",) if method.settings.assess and method.version >= 2 else ()
        for way in (*ways, "verdict") if method.settings.verdict else ways:
            found = critic_results.stored(critic_results.critic_key(way, method, critic))
            figures = found.of(way).model_dump(mode="json") if found is not None else None
            checks[f"critic, {way}"] = {"known": {}, "check": _of(figures)}
    return checks


def _of(figures: dict[str, Any] | None) -> dict[str, Any] | None:
    return {key: figures[key] for key in _FIGURES if key in figures} if figures else None


def _method(folder: Path) -> Method | None:
    """What a run was made by, from its journal, or from the files that stand beside its data."""
    if has_journal(folder):
        with reading(folder, "") as journal:
            if journal.meta("published") is not None:
                return last_method(journal, published=True)[0]
    paths = [folder / "config.yaml", folder / "constitution.yaml"]
    if not all(path.is_file() for path in paths):
        return None
    settings, constitution = stored_settings(read_config(paths[0])), load_constitution(paths[1])
    return Method(constitution, templates.load(), settings)


def judge_check(folder: Path, method: Method | None = None) -> results.JudgeResult | None:
    """The result of `cai check judge` for the judge of a run; None where there is none.

    A check of another machine, or templates that are no longer there, are no error: nothing is
    known then.

    Args:
        folder: The run.
        method: What it was made by, where that is known; a journal at work cannot be asked.
    """
    try:
        manifest, method = Run.load(folder).manifest, method or _method(folder)
        if method is None or "judge" not in manifest.models:
            return None
        calibration = method.settings.judge_calibration
        if calibration is not None and Path(calibration).is_file():
            return results.read(Path(calibration))
        return results.stored(results.judge_key(method, manifest.models["judge"]))
    except (CaiError, OSError, ValueError, KeyError):  # templates of others may lack one
        return None


def as_detail(result: results.JudgeResult | None) -> dict[str, Any]:
    """What `quality.json` holds of a check: how often the judge is right, and how sure to be."""
    if result is None:
        return {}
    names = ("verdict", "words", "accuracy", "accuracy_interval", "scored", "brier", "ece")
    data = result.model_dump(mode="json")
    return {"judge_check": {name: data[name] for name in (*names, "bins", "calibration")}}
