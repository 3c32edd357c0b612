"""What the fields of a row say: a conversation, or a conversation and answers to it.

Every reader (`cai generate`, `cai train`, `cai check`) asks here, so that a row means the
same to all of them.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from cai.sources.bad_rows import RowError
from cai.sources.turns import HINT, Turns, transcript, turns_of, written_out
from cai.sources.wording import a_kind_of

CONVERSATIONS = ("messages", "conversations", "conversation")  # columns of whole conversations
SYSTEM = ("system", "system_prompt")  # columns of the system message

_SYSTEM_HINT = "Keep one system message, a text, or give the column another name."


def prompt_turns(value: Any, where: str, *, text: bool = True) -> Turns:
    """The turns up to the last one of the user; an answer after it is not part of the prompt.

    Raises:
        RowError: As `turns_of`; the last turn is another's, or a turn is empty.
    """
    turns = turns_of(value, where, text=text)
    if turns and turns[-1]["role"] == "assistant":
        turns = turns[:-1]
    return _checked(turns, where)


def answered(row: Mapping[str, Any], answers: Sequence[str], where: str) -> tuple[Turns, list[str]]:
    """The conversation of a row and the answers to it, one per column of `answers`.

    The conversation is in `prompt`, or before the answer in each of the columns, or in both.
    Conversations are the same where their turns are but for white space at the ends and for how a
    line ends; the row's `prompt` is taken as it is written.

    Raises:
        RowError: A column is missing or in none of the forms, the conversations differ, or there
            is none that ends with a turn of the user.
    """
    prompt = row.get("prompt")
    talks: list[Turns] = []
    if prompt not in (None, ""):  # CSV has no null
        talks.append(_asked(prompt, f"{where}: prompt"))
    pairs = [_side(row, name, answers, where) for name in answers]
    sides = [talk for talk, _ in pairs if talk]
    if not talks and not sides:
        if prompt == "":
            raise RowError(where, "empty prompt", "the prompt is empty")
        raise RowError(where, "no column", "no prompt", _shape(answers))
    if not talks and len(sides) < len(answers):
        message = "the two sides do not answer the same conversation: one is an answer alone"
        raise RowError(where, "other prompt", message, _shape(answers))
    talks += sides
    if any(_key(talk) != _key(talks[0]) for talk in talks):
        message = "prompt and answers are not of one conversation"
        if len(answers) > 1:
            message = "the two sides do not answer the same conversation"
        raise RowError(where, "other prompt", message)
    return with_system(_checked(talks[0], where), row, where), [answer for _, answer in pairs]


def last_answered(value: Any, row: Mapping[str, Any], where: str) -> tuple[Turns, list[str]]:
    """A whole conversation, divided before its last turn, which is the answer.

    Raises:
        RowError: As `turns_of`; the last turn is not the assistant's, or there is none before it.
    """
    turns = turns_of(value, where, text=False)
    if not turns or turns[-1]["role"] != "assistant":
        raise RowError(where, "empty answer", "the conversation does not end with an answer")
    prompt = _checked(turns[:-1], where)
    return with_system(prompt, row, where), [turns[-1]["content"]]


def with_system(turns: Turns, row: Mapping[str, Any], where: str) -> Turns:
    """The turns behind the system message that the row has in a column of its own, if it has one.

    Raises:
        RowError: It is no text, or the conversation has another one.
    """
    for name in SYSTEM:
        text = row.get(name)
        if text is None or (isinstance(text, str) and not text.strip()):
            continue
        if not isinstance(text, str):
            message = f"must be text, not {a_kind_of(text)}"
            raise RowError(f"{where}: {name}", "bad field", message, _SYSTEM_HINT)
        if turns[0]["role"] != "system":
            turns = [{"role": "system", "content": text}, *turns]
        elif _key(turns[:1]) != _key([{"role": "system", "content": text}]):
            message = "another system message than that of the conversation"
            raise RowError(f"{where}: {name}", "bad field", message, _SYSTEM_HINT)
    return turns


def check_answers(answers: Sequence[str], where: str) -> None:
    """Raise `RowError` where an answer says nothing, or two are one."""
    if not all(answer.strip() for answer in answers):
        raise RowError(where, "empty answer", "an answer is empty")
    if len({answer.strip() for answer in answers}) < len(answers):
        raise RowError(where, "same answers", "the answers are the same")


def _asked(value: Any, where: str) -> Turns:
    """The prompt that answers in other columns follow; it has no answer of its own."""
    turns = turns_of(value, where)
    if turns and turns[-1]["role"] == "assistant":
        if turns[-1]["content"].strip():
            message = "the prompt ends with an answer, and the answers are in other columns"
            raise RowError(where, "other prompt", message)
        turns = turns[:-1]  # "Assistant:", where the answer begins
    return turns


def _side(
    row: Mapping[str, Any], name: str, answers: Sequence[str], where: str
) -> tuple[Turns, str]:
    """The conversation before an answer, if the column holds it too, and the answer."""
    value, place = row.get(name), f"{where}: {name}"
    if isinstance(value, str):
        turns = transcript(value)
        if not turns:
            written = written_out(value, place)
            if written is None:
                return [], _continued(row.get("prompt"), value)
            turns = turns_of(written, place)
    elif isinstance(value, list) and value:
        turns = turns_of(value, place, text=False)
    else:
        message = "missing, or neither text nor messages"
        raise RowError(place, "no column", message, _shape(answers))
    if not turns or turns[-1]["role"] != "assistant":
        return turns, ""
    return turns[:-1], turns[-1]["content"]


def _continued(prompt: Any, answer: str) -> str:
    """The answer as the turn that it would be at the end of the prompt, if that is a transcript."""
    if isinstance(prompt, str) and transcript(prompt):
        answer = answer.replace("\r\n", "\n") if "\r\n" in prompt else answer
        return answer.removeprefix(" ")
    return answer


def _shape(answers: Sequence[str]) -> str:
    names = " and ".join(f"`{name}`" for name in answers)
    return (
        f"Each row has `prompt` and {names} (texts or messages), or whole conversations in {names}."
    )


def _checked(turns: Turns, where: str) -> Turns:
    """The turns of a prompt, none of which is empty and the last of which is the user's."""
    if not any(turn["role"] == "user" for turn in turns):
        raise RowError(where, "no user turn", "there is no user turn", HINT)
    if turns[-1]["role"] != "user":
        message = f"ends with a turn of role {turns[-1]['role']!r}, not with one of the user"
        hint = "End the conversation with the turn to be answered."
        raise RowError(where, "no user turn", message, hint)
    if not turns[-1]["content"].strip():
        raise RowError(where, "empty prompt", "the prompt is empty")
    for i, turn in enumerate(turns, 1):
        if not turn["content"].strip():
            message = f"turn {i}, of the {turn['role']}, is empty"
            raise RowError(where, "empty turn", message)
    return turns


def _key(turns: Turns) -> list[tuple[str, str]]:
    return [(t["role"], t["content"].replace("\r\n", "\n").strip()) for t in turns]
