"""Rules in a whole run: an edit of a number, and what is learnt of it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import cai
from cai.constitution.records import Check
from cai.constitution.rules import finding
from cai.engines.scripted import ScriptedEngine
from cai.records import Message, Sampling


def file_of(most: int) -> str:
    path = Path("rules.yaml")
    words = f"principles: [{{id: short, check: {{max_words: {most}}}}}]"
    path.write_text(f"name: rules\nversion: 1\n{words}\n")
    return str(path)


def write(messages: Sequence[Message], sampling: Sampling) -> str:
    """An answer of 1 to 20 words by the prompt's number, and a revision of one word."""
    if len(messages) > 1:
        return f"Yes{sampling.seed}."
    number = int(messages[-1].content.split()[2].strip(","))
    return " ".join(f"word{n}" for n in range(number + 1)) + "."


def test_another_number_asks_a_model_only_where_the_finding_changes(
    prompts_file: Callable[..., str],
) -> None:
    engine = ScriptedEngine(reply=write)
    given = {"engine": engine, "prompts": prompts_file(20), "out": "run", "pairs": ("revision",)}
    first = cai.generate(constitution=file_of(15), **given)  # type: ignore[arg-type]
    assert first.manifest.calls["made"] == 20 + 5
    again = cai.generate(constitution=file_of(12), **given)  # type: ignore[arg-type]
    texts = [" ".join(f"word{i}" for i in range(n + 1)) + "." for n in range(20)]
    found = [[finding(Check(max_words=most), text) for text in texts] for most in (15, 12)]
    changed = sum(old != new for old, new in zip(*found, strict=True))
    assert again.manifest.calls == {"made": changed, "reused": 20}
    assert changed == 8
    back = cai.generate(constitution=file_of(15), **given)  # type: ignore[arg-type]
    assert back.manifest.calls["made"] == 0


def test_every_row_keeps_the_rule_and_needs_no_judge(prompts_file: Callable[..., str]) -> None:
    run = cai.generate(
        engine=ScriptedEngine(reply=write),
        prompts=prompts_file(20),
        constitution=file_of(12),
        out="run",
        pairs=("revision",),
        test_share=0.0,
    )
    rows = list(run.sft["train"])
    assert len(rows) == 20  # a program clears what keeps the rule
    assert all(
        finding(Check(max_words=12), row["completion"][0]["content"]) is None for row in rows
    )
    assert sum(row["target"] == "revision" for row in rows) == 8
    assert set(run.manifest.models) == {"policy", "reviser"}
    pairs = list(run.preferences["train"])
    assert {row["chosen_probability"] for row in pairs} == {1.0}
    assert len(pairs) == 8
