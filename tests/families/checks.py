"""What must hold of a family's chat format, whatever the tokenizer."""

from __future__ import annotations

import datetime
from collections.abc import Sequence
from typing import Any
from unittest import mock

from transformers.utils import chat_template_utils

from cai.engines.local.chat import Chat
from cai.engines.local.chat_template import ARGUMENTS
from cai.records import Message

from .catalogue import Family

DAY = datetime.date(2026, 3, 7)
ANSWER = "Lynx live in the far north."
PREFIX = "The right option is ("


def turns(*texts: str, system: str | None = None) -> tuple[Message, ...]:
    roles = ["user", "assistant"] * len(texts)
    talk = [Message(role=r, content=t) for r, t in zip(roles, texts, strict=False)]  # type: ignore[arg-type]
    return (*([Message(role="system", content=system)] if system else []), *talk)


TALKS = (
    turns("Where do lynx live?"),
    turns("Where do lynx live?", system="Answer in one sentence."),
    turns("Which cats purr?", "Small ones do.", "And where do lynx live?"),
    turns("Which cats purr?", "Small ones.", "And lynx?", system="Answer in one sentence."),
)


def with_tokens(tokenizer: Any, family: Family) -> Any:
    """The tokenizer with the family's template and control tokens."""
    named = [family.end, family.eos, *family.ends, *family.tokens]
    known = tokenizer.get_vocab()
    tokenizer.add_special_tokens(
        {"additional_special_tokens": [t for t in dict.fromkeys(named) if t not in known]}
    )
    tokenizer.eos_token = family.eos
    if family.bos is not None:
        tokenizer.add_special_tokens({"bos_token": family.bos})
    tokenizer.chat_template = family.text
    return tokenizer


def at(day: datetime.date) -> Any:
    """Transformers' clock at a day."""
    clock = mock.Mock(wraps=datetime.datetime)
    clock.now.return_value = datetime.datetime.combine(day, datetime.time(13, 5))
    return mock.patch.object(chat_template_utils, "datetime", clock)


def own_ids(tokenizer: Any, messages: Sequence[Message], parts: bool, **how: Any) -> list[int]:
    """What transformers makes of a conversation on that day."""
    data = [
        {"role": m.role, "content": [{"type": "text", "text": m.content}] if parts else m.content}
        for m in messages
    ]
    with at(DAY):
        ids: list[int] = tokenizer.apply_chat_template(data, return_dict=False, **ARGUMENTS, **how)
    return ids


def spoken(tokenizer: Any, ids: Sequence[int]) -> str:
    text: str = tokenizer.decode(ids, clean_up_tokenization_spaces=False)
    return text


def check_format(tokenizer: Any, family: Family) -> dict[str, str]:
    """Assert all of it, and tell what the template does."""
    chat = Chat(tokenizer, family.name, DAY)
    facts = chat.facts
    assert facts is not None
    assert chat.end_token(tokenizer.convert_tokens_to_ids(list(family.ends))) == family.end
    for talk in TALKS:
        check_talk(chat, talk, family)
    check_labels(chat, TALKS[1])
    check_outputs(chat)
    with at(datetime.date(2031, 12, 24)):
        assert chat.encode(TALKS[0]) == Chat(tokenizer, family.name, DAY).encode(TALKS[0])
    return {
        "answer after": f"`{facts.lead}`".replace("\n", "⏎") if facts.lead else "",
        "reasoning in": f"`{facts.opening.strip()}`" if facts.opening else "",
        "ends with": f"`{family.end}`",
        "system text": "first user turn" if facts.folds else "its own place",
        "date": "fixed" if facts.dated else "",
    }


def check_talk(chat: Chat, talk: Sequence[Message], family: Family) -> None:
    tokenizer, facts = chat.tokenizer, chat.facts
    assert facts is not None
    asked = chat.encode(talk).ids
    text = spoken(tokenizer, asked)
    assert all(m.content in text for m in talk)
    if not (facts.folds and talk[0].role == "system"):
        assert asked == own_ids(tokenizer, talk, facts.parts, add_generation_prompt=True)
    learnt = chat.learnt(talk, [ANSWER], family.end)[0]
    assert learnt.ids[: len(asked)] == asked
    assert spoken(tokenizer, learnt.ids[learnt.start :]).strip() == f"{ANSWER}{family.end}"
    assert learnt.ids.count(tokenizer.convert_tokens_to_ids(family.end)) == 1 + asked.count(
        tokenizer.convert_tokens_to_ids(family.end)
    )
    whole = [*talk, Message(role="assistant", content=ANSWER)]
    if talk[0].role != "system" and not facts.opens:
        assert own_ids(tokenizer, whole, facts.parts)[: len(learnt.ids) - 1] == learnt.ids[:-1]


def check_labels(chat: Chat, talk: Sequence[Message]) -> None:
    assert chat.facts is not None
    labels = chat.label_ids(("A", "B"), PREFIX)
    assert len(set(labels)) == 2
    ids = chat.encode(talk, PREFIX).ids
    lead = chat.facts.lead.lstrip()
    assert spoken(chat.tokenizer, ids).endswith(lead + PREFIX)


def check_outputs(chat: Chat) -> None:
    facts, encode = chat.facts, chat.tokenizer.encode
    assert facts is not None
    plain = encode(facts.lead + ANSWER, add_special_tokens=False)
    assert chat.read(plain) == (ANSWER, None)
    if facts.opening:
        opening = "" if facts.opens else facts.opening
        thought = f"{opening}Think of snow.{facts.closing}{ANSWER}"
        answer, reasoning = chat.read(encode(thought, add_special_tokens=False))
        assert answer == ANSWER
        assert reasoning is not None
        assert "Think of snow." in reasoning
        cut = encode(f"{opening}Think of snow.", add_special_tokens=False)
        assert chat.read(cut)[0] == ""
