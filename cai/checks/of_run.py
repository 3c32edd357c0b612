"""The check of a run's judge, where it was measured: that of its settings, else the stored one."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from cai import templates
from cai.checks.results import JudgeResult, judge_key, read, stored
from cai.config import stored_settings
from cai.constitution.load import load
from cai.dataset.run import Run
from cai.errors import CaiError
from cai.method import Method
from cai.settings import read_config


def judge_check(folder: Path) -> JudgeResult | None:
    """The result of `cai check judge` for the judge of a run; None where there is none.

    A check of another machine, or templates that are no longer there, are no error: nothing is
    known then.
    """
    try:
        manifest = Run.load(folder).manifest
        settings = stored_settings(read_config(folder / "config.yaml"))
        if "judge" not in manifest.models:
            return None
        if settings.judge_calibration is not None and Path(settings.judge_calibration).is_file():
            return read(Path(settings.judge_calibration))
        words = templates.load(Path(settings.templates) if settings.templates else None)
        method = Method(load(folder / "constitution.yaml"), words, settings)
        return stored(judge_key(method, manifest.models["judge"]))
    except (CaiError, OSError, ValueError, KeyError):  # templates of others may lack one
        return None


def as_detail(result: JudgeResult | None) -> dict[str, Any]:
    """What `quality.json` holds of a check: how often the judge is right, and how sure to be."""
    if result is None:
        return {}
    names = ("verdict", "words", "accuracy", "accuracy_interval", "scored", "brier", "ece")
    data = result.model_dump(mode="json")
    check = {name: data[name] for name in (*names, "bins", "calibration")}
    return {"judge_check": check}
