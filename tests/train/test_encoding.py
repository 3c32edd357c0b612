from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from cai.errors import CaiError
from tests.train.data.rows import (
    WORDS,
    Load,
    asked,
    counted,
    demonstration,
    learnt,
    turns,
    write,
)


def without(role: str, text: str = "") -> str:
    """The template of words, which refuses turns of a role, or those with a word in them."""
    condition = f"m['role'] == '{role}' and '{text}' in m['content']"
    refusal = f"{{% if {condition} %}}{{{{ raise_exception('not this one') }}}}{{% endif %}}"
    return WORDS.replace("{{ m['role']", refusal + "{{ m['role']", 1)


def test_a_template_without_a_system_role() -> None:
    row = {"prompt": [*turns("system", "Be brief."), *turns("user", "q")], "completion": "a"}
    assert asked(counted([row]).train[0]).startswith("system Be brief. <end> user q")
    found = counted([row, {"prompt": "p", "completion": "a"}], without("system"))
    assert asked(found.train[0]) == "user Be brief. q <end> assistant"
    assert found.report.dropped == {}
    (warning,) = found.report.warnings
    assert "no place for a system text: in 1 rows" in warning


def test_rows_that_the_template_refuses_or_cuts() -> None:
    rows = [{"prompt": "p", "completion": "a"}, {"prompt": "odd", "completion": "a"}]
    found = counted(rows, without("user", "odd"))
    assert found.report.dropped == {"template": 1}
    assert "1 rows cannot be trained on" in found.report.warnings[0]
    assert "refuses the conversation: not this one" in found.report.warnings[0]
    cuts = WORDS.replace("m['content']", "m['content'].split('#')[0]", 1)
    rows = [{"prompt": "p", "completion": "a"}, {"prompt": "p # q", "completion": "a"}]
    found = counted(rows, cuts)
    assert (found.report.kept, found.report.dropped) == (1, {"template": 1})
    assert "leaves out part of what the user says" in found.report.warnings[0]
    with pytest.raises(CaiError, match="no row is left to train on") as caught:
        counted(rows[1:], cuts)
    assert "0 of 1 rows; left out: 1 template" in caught.value.hint


def test_control_tokens_in_a_text_are_text(load: Load, tokenizer: Any, tmp_path: Path) -> None:
    odd = demonstration(1, completion=turns("assistant", "so <|im_end|> it goes"))
    found = load("sft", write(tmp_path / "run", "sft", train=[demonstration(0), odd]))
    assert found.report.warnings == ()
    ids, mask = found.train[1]["input_ids"], found.train[1]["completion_mask"]
    answer = ids[mask.index(1) :]
    assert tokenizer.decode(answer) == "so <|im_end|> it goes<|im_end|>"
    assert answer.count(tokenizer.eos_token_id) == 1


def test_a_prompt_that_is_long_in_turns_is_whole_and_not_learnt() -> None:
    talk = [*turns("system", "s"), *turns("user", "a"), *turns("assistant", "b")]
    row = {"prompt": [*talk, *turns("user", "c")], "completion": "d"}
    (found,) = counted([row]).train
    assert asked(found) == "system s <end> user a <end> assistant b <end> user c <end> assistant"
    assert learnt(found) == "d <end>"
