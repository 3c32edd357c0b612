"""Lines that are no prompt, each odd in its own way, with the error that each becomes."""

from __future__ import annotations

import json
from typing import Any

USER = {"role": "user", "content": "Why?"}
REPLY = {"role": "assistant", "content": "So."}
TOOL = {"role": "tool", "content": "4", "tool_call_id": "1"}
CALL = {**REPLY, "tool_calls": [{"id": "1", "function": {"name": "add"}}]}
IMAGE = {"type": "image_url", "image_url": {"url": "a.png"}}
NUMPY = "[{'content': 'a', 'role': 'user'}\n {'content': 'b', 'role': 'assistant'}]"


def talk(*turns: Any, **fields: Any) -> bytes:
    return json.dumps({"messages": turns, **fields}).encode()


def row(**fields: Any) -> bytes:
    return json.dumps(fields).encode()


ODD: dict[str, tuple[bytes, str]] = {
    "a cut line": (b'{"prompt": "Wh', "broken_line"),
    "garbage": (b"%%% garbage %%%", "broken_line"),
    "garbage that is no UTF-8": (b'{"prompt": "\xff\xfe"}', "broken_line"),
    "a list": (b'["Why?"]', "broken_line"),
    "a number": (b"5", "broken_line"),
    "a number that is too long": (b'{"prompt": ' + b"1" * 5000 + b"}", "broken_line"),
    "nested too deep": (b"[" * 100_000, "broken_line"),
    "another column": (row(comment="Why?"), "no_column"),
    "two that could be it": (row(text="Why?", goal="Who?"), "no_column"),
    "no text": (row(prompt=7), "wrong_type"),
    "an object": (row(prompt={"text": "Why?"}), "wrong_type"),
    "no messages": (row(messages=[]), "wrong_type"),
    "a text among the messages": (talk(USER, "So.", USER), "wrong_type"),
    "a number as content": (talk({**USER, "content": 7}), "wrong_type"),
    "nobody's role": (talk({**USER, "role": "bard"}), "unknown_role"),
    "no role": (talk({"content": "Why?"}), "unknown_role"),
    "a tool": (talk(USER, CALL, TOOL, REPLY, USER), "tool_call"),
    "a tool call": (talk(USER, {**CALL, "content": None}), "tool_call"),
    "a tool of ShareGPT": (row(conversations=[{"from": "observation", "value": "4"}]), "tool_call"),
    "an image": (talk({**USER, "content": [{"type": "text", "text": "See"}, IMAGE]}), "not_text"),
    "an image beside it": (row(prompt="Why?", image="a.png"), "not_text"),
    "null": (talk({**USER, "content": None}), "null_content"),
    "an answer of null": (talk(USER, {**REPLY, "content": None}, USER), "null_content"),
    "an empty answer": (talk(USER, {**REPLY, "content": ""}, USER), "empty_turn"),
    "two of the user": (talk(USER, USER), "doubled_turn"),
    "the system last": (talk(USER, {**USER, "role": "system"}), "no_user_turn"),
    "nobody asks": (talk(REPLY), "no_user_turn"),
    "turns without answers": (row(turns=["Why?", "Who?"]), "no_answers_between"),
    "a cell of pandas": (row(prompt=NUMPY), "unreadable_text"),
    "half of a prompt": (row(question="Who?", context="Ann did it."), "lost_column"),
    "a reply": (row(chosen="Because of rain."), "lost_column"),
    "a kind of its own": (row(prompt="Why?", kind="open_qa"), "bad_field"),
    "an id of its own": (row(prompt="Why?", id=1.5), "bad_field"),
    "tags of their own": (row(prompt="Why?", tags={"a": 1}), "bad_field"),
    "an empty prompt": (row(prompt=" \n"), "empty_prompt"),
    "half of a pair": (b'{"prompt": "\\ud800"}', "lone_surrogate"),
}
