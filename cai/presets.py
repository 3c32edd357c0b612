"""Settings under one name: the paper's protocol, and what to compare with."""

from __future__ import annotations

from typing import Any, Literal

Preset = Literal["default", "bai2022", "direct"]

PRESETS: dict[Preset, dict[str, Any]] = {
    # One revision removes most harm, later ones cost helpfulness (Bai et al. 2022, figure 5).
    "default": {},
    # The paper's protocol (section 3.1): four revisions, each made whatever the critique says.
    "bai2022": {
        "revisions": 4,
        "verdict": False,
        "few_shot": True,
        "sft_steps": "all",
        "policy_temperature": 1.0,
        "critic_temperature": 1.0,
        "reviser_temperature": 1.0,
        # Section 4.1: pairs of one policy, one principle drawn per comparison.
        "pairs": ("sampled",),
        "judge_principles": 1,
    },
    # Revision without critique, to compare with (Bai et al. 2022, figure 7).
    "direct": {"critique": False, "verdict": False},
}
