from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

import cai
from cai.engines.scripted import ScriptedEngine, ScriptedOptions
from tests.generation.forgetting import RULES, write_prompts


@pytest.fixture
def go(tmp_path: Path) -> Callable[..., cai.Run]:
    """Runs into a folder with a scripted engine that repeats what it is asked, and logs calls."""
    (tmp_path / "rules.yaml").write_text(yaml.safe_dump(RULES))
    write_prompts(tmp_path / "prompts.jsonl")

    def generate(**given: Any) -> cai.Run:
        engine = ScriptedEngine(ScriptedOptions(log=str(tmp_path / "calls.log")))
        named = {"constitution": "rules.yaml", "prompts": "prompts.jsonl", "out": "run"}
        more = {
            "stages": ("sft", "preferences"),
            "pairs": ("revision", "sampled"),
            "test_share": 0.3,
        }
        return cai.generate(**{**named, **more, "engine": engine, **given})

    return generate
