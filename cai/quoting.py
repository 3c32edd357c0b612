"""Texts as quotations: between lines with a mark that none of them can hold."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from cai.records import Message, digest
from cai.templates import Templates


def fence(answers: Sequence[str], others: Iterable[str]) -> str:
    """The mark around quoted texts: from the digests of the answers, whatever their order.

    A text cannot hold the mark that its own digest decides; should one do so, another is taken.
    """
    texts = (*answers, *others)
    seed: object = sorted(digest(text) for text in answers)
    while any((mark := digest(seed)[:12]) in text for text in texts):
        seed = [seed]
    return mark


def quoted(templates: Templates, who: str, text: str, mark: str) -> str:
    return templates.render("quote", who=who, text=text, mark=mark)


def conversation(templates: Templates, messages: Iterable[Message], mark: str) -> str:
    """The turns of a conversation, each quoted."""
    return "\n\n".join(quoted(templates, m.role, m.content, mark) for m in messages)
