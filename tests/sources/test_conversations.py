"""What the fields of a row say, and that every reader takes them to say the same."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from cai.checks.pairs import read_pairs
from cai.errors import InputError
from cai.prompts import read_prompts
from cai.records import messages_as_data
from cai.sources.bad_rows import BadRows, RowError
from cai.sources.conversations import answered, prompt_turns
from cai.sources.turns import transcript, turns_of
from cai.train.data.examples import Example
from cai.train.data.source import read_source

FAST = settings(
    max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
# One turn of a transcript: no marker in it, and something else than white space.
SAID = st.text(st.characters(codec="utf-8", exclude_characters="\r") | st.sampled_from("\n :"))
SAID = SAID.filter(
    lambda t: t.strip() and "\n\nHuman:" not in f"\n\n{t}" and "\n\nAssistant:" not in f"\n\n{t}"
)


def told(*said: str) -> str:
    speakers = ("Human", "Assistant") * len(said)
    return "".join(f"\n\n{who}: {text}" for who, text in zip(speakers, said, strict=False))


@FAST
@given(st.lists(SAID, min_size=1, max_size=3), SAID, SAID, st.sampled_from(["\n", "\r\n"]))
def test_a_pair_means_the_same_to_every_reader(
    tmp_path: Path, said: list[str], chosen: str, rejected: str, end: str
) -> None:
    said = said if len(said) % 2 else said[1:]
    if chosen.strip() == rejected.strip():
        return
    row = {"chosen": told(*said, chosen), "rejected": told(*said, rejected)}
    path = tmp_path / "pairs.jsonl"
    path.write_text(json.dumps({k: v.replace("\n", end) for k, v in row.items()}))
    (prompt,) = read_prompts(str(path))
    (pair,), skipped = read_pairs(path)
    (example,) = read_source(str(path), "preferences").train
    assert isinstance(example, Example)
    assert skipped == []
    roles = ("user", "assistant") * len(said)
    turns = [{"role": r, "content": t} for r, t in zip(roles, said, strict=False)]
    for messages in (prompt.messages, pair.prompt.messages, example.prompt):
        assert messages_as_data(messages) == turns
    assert example.answers == (chosen, rejected)
    assert (pair.chosen, pair.rejected) == (chosen.strip(), rejected.strip())


USER, REPLY = {"role": "user", "content": "q"}, {"role": "assistant", "content": "a"}
SYSTEM = {"role": "system", "content": "s"}


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ("q", [USER]),
        (["q"], [USER]),
        ([{**SYSTEM, "role": "developer"}, USER], [SYSTEM, USER]),
        ([{**SYSTEM, "content": " "}, USER], [USER]),
        ([{"role": "user", "content": [{"type": "text", "text": "q"}]}], [USER]),
        (
            [{"role": "user", "content": ["q", {"type": "input_text", "text": "r"}]}],
            [{"role": "user", "content": "q\nr"}],
        ),
        ([{"role": "user", "content": "q", "tool_calls": None, "images": []}], [USER]),
        (
            [
                {"from": "system", "value": "s"},
                {"from": "human", "value": "q"},
                {"from": "gpt", "value": "a"},
            ],
            [SYSTEM, USER, REPLY],
        ),
        (json.dumps([USER, REPLY]), [USER, REPLY]),
        (str([SYSTEM, USER]), [SYSTEM, USER]),
        ("[{'from': 'human', 'value': 'it\\'s \\d'}]", [{**USER, "content": "it's \\d"}]),
        ('[{"role": "admin"}, {"role": "guest"}]', None),  # data that somebody asks about
        ('{"role": "admin", "rights": {"content": "all"}}', None),
        ("[{x}] is a set", None),
    ],
)
def test_forms_of_a_conversation(value: Any, expected: Any) -> None:
    assert turns_of(value, "here") == (expected or [{"role": "user", "content": value}])


@pytest.mark.parametrize(
    ("value", "fault", "message"),
    [
        ([USER, USER], "doubled turn", "two turns of the user in a row (turn 1 and 2)"),
        ([SYSTEM, {**SYSTEM, "role": "developer"}, USER], "doubled turn", "of the system"),
        ([USER, {"role": "tool", "content": "4"}, REPLY], "tool call", "[1]: a tool"),
        ([USER, {**REPLY, "tool_calls": [{"id": "1"}]}], "tool call", "[1]: a tool"),
        ([USER, {"role": "assistant", "content": None}], "null content", "[1]: the message's"),
        ([{"role": "user", "content": [{"type": "image_url", "image_url": "x"}]}], "not text",
         "a part of the message is of type 'image_url'"),
        ([{"role": "user", "content": [None]}], "not text", "a part of the message is null"),
        ([{**USER, "images": ["a.png"]}], "not text", "has an image"),
        ([USER, {**REPLY, "content": " "}, USER], "empty turn", "turn 2, of the assistant"),
        ([USER, SYSTEM], "no user turn", "ends with a turn of role 'system'"),
        ([{**SYSTEM, "content": ""}], "no user turn", "there is no user turn"),
        ("\n\nHuman: a\n\nAssistant: \n\nHuman: b", "empty turn", "turn 2, of the assistant"),
        # What pandas writes of an array of messages: there is no comma between them.
        ("[{'role': 'user', 'content': 'q'}\n {'role': 'assistant', 'content': 'a'}]",
         "unreadable text", "cannot be read back"),
        ('[{"role": "user", "content": "q"', "unreadable text", "cannot be read back"),
        ('{"messages": [{"role": "user", "content": "q"}]}', "unreadable text", "cannot be read"),
        (str(USER), "unreadable text", "cannot be read back"),
    ],
)  # fmt: skip
def test_what_is_no_prompt(value: Any, fault: str, message: str) -> None:
    with pytest.raises(RowError) as caught:
        prompt_turns(value, "here")
    assert caught.value.fault == fault
    assert message in caught.value.message
    assert caught.value.where.startswith("here")
    assert caught.value.hint


@pytest.mark.parametrize(
    ("row", "fault"),
    [
        ({"prompt": "q", "completion": None}, "no column"),
        ({"completion": "a"}, "no column"),
        ({"prompt": "", "completion": "a"}, "empty prompt"),
        ({"prompt": "p", "completion": told("q", "a")}, "other prompt"),
        ({"prompt": told("q", "an answer"), "completion": "a"}, "other prompt"),
        ({"prompt": "q", "completion": [SYSTEM, USER, REPLY]}, "other prompt"),
        ({"prompt": "q", "completion": [{**SYSTEM, "content": ""}]}, None),  # an empty answer
    ],
)
def test_what_is_no_answered_prompt(row: dict[str, Any], fault: str | None) -> None:
    if fault is None:
        assert answered(row, ("completion",), "here") == ([USER], [""])
        return
    with pytest.raises(RowError) as caught:
        answered(row, ("completion",), "here")
    assert caught.value.fault == fault


def test_a_text_that_is_no_transcript() -> None:
    for text in ("Assistant: a\n\nHuman: b", "Human: one\n\ntwo", "He said:\n\nHuman: a"):
        assert transcript(text) == []


def test_bad_rows_stop_the_reading_where_they_are_too_many() -> None:
    bad = BadRows()
    for n in range(1, 201):
        bad.rows += 1
        if n % 10 == 0:
            bad.add(RowError(f"f:{n}", "tool call" if n > 10 else "broken line", "no", f"Do {n}."))
    bad.check(0.1)  # as many as may be
    with pytest.raises(InputError, match=r"f:10: no\nf:20: the same\nf:30") as caught:
        bad.check(0.0999, "Or else.")
    message = caught.value.message.splitlines()
    assert len(message) == 12
    assert message[10] == "… and 10 more"
    assert message[11] == (
        "20 of 200 rows cannot be used: 19 tool call, 1 broken line (10.0%; at most 9.99% may be)"
    )
    assert caught.value.hint.endswith("Do 100.\nOr else.")


def test_a_thousand_bad_rows_and_no_other_end_the_reading() -> None:
    bad = BadRows()
    for bad.rows in range(1, 1000):
        bad.add(RowError(f"f:{bad.rows}", "no column", "no"))
    bad.rows += 1
    with pytest.raises(InputError, match="reading stopped here"):
        bad.add(RowError("f:1000", "no column", "no"))
