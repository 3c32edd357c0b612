"""Settings under one name: the paper's protocol, and what to compare with."""

from __future__ import annotations

from typing import Any, Literal

Preset = Literal["default", "bai2022", "direct", "distil"]

PRESETS: dict[Preset, dict[str, Any]] = {
    # A round that looks for harm, and one on manner. The first removes most harm, later ones cost
    # helpfulness (Bai et al. 2022, figure 5).
    "default": {},
    # The paper's protocol (section 3.1): four revisions, each made whatever the critique says.
    "bai2022": {
        "revisions": 4,
        # Each draw is among all principles that look for harm, as all of the paper's sixteen do.
        "rising_order": False,
        "topics": False,
        "assess": False,
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
    "direct": {"critique": False, "verdict": False, "assess": False},
    # Context distillation (Askell et al. 2021; Open Character Training, arXiv 2511.01689): the
    # answer is written with the constitution in view and learnt without it.
    "distil": {"guided": True, "revisions": 0, "pairs": ("guided",)},
}
# What method version 1, that of cai 0.1.0, has for what later versions set otherwise or added.
FIRST_METHOD: dict[str, Any] = {
    "revisions": 1,
    "rising_order": False,
    "topics": False,
    "assess": False,
    "min_label_mass": 0.01,
}
