"""The chat template of a model that is trained: its own, the user's, or a plain one of ours."""

from __future__ import annotations

import json
from datetime import date
from pathlib import Path
from typing import Any, NamedTuple

from cai.engines.local.chat import Chat
from cai.errors import CaiError, InputError
from cai.records import digest

# Roles in words and an end token after each answer: a base model knows words and learns the end.
PLAIN = (
    "{%- for message in messages %}"
    "{%- if message['role'] == 'assistant' %}"
    "{{- '### Assistant:\\n' + message['content'] + eos_token + '\\n\\n' }}"
    "{%- else %}"
    "{{- '### ' + message['role'] | capitalize + ':\\n' + message['content'] + '\\n\\n' }}"
    "{%- endif %}"
    "{%- endfor %}"
    "{%- if add_generation_prompt %}{{- '### Assistant:\\n' }}{%- endif %}"
)
# Where the tokenizer begins every text with it, the model knows no text without.
PLAIN_AFTER_BOS = "{{- bos_token }}" + PLAIN


class ChatFormat(NamedTuple):
    """How a model's conversations become tokens: its chat, the token that ends an answer."""

    chat: Chat
    end: str
    digest: str


def settle_template(
    tokenizer: Any,
    name: str,
    base: Path,
    path: str | None = None,
    trained_with: str | None = None,
    day: date | None = None,
) -> ChatFormat:
    """Give the tokenizer its template and its end token.

    A turn ends with any of the tokens that end the model's generation. Where its template writes
    another one (that of a base model, whose tokenizer knows how texts end and not turns), that one
    becomes the tokenizer's end token, so that the trained model stops there.

    Args:
        tokenizer: Changed in place.
        name: The model's name, for errors.
        base: The model's folder, whose configuration names the tokens that end generation.
        path: A file with a template that replaces the model's own.
        trained_with: The digest of the template that the model was trained with, if it was.
        day: The date for a template that writes one; today by default.

    Raises:
        CaiError: The template cannot be read or is not understood, nothing ends an answer, or the
            model was trained with another template.
    """
    if path is not None:
        try:
            tokenizer.chat_template = Path(path).read_text(encoding="utf-8")
        except (OSError, UnicodeDecodeError) as error:
            raise InputError(path, f"cannot be read: {error}", "Check --chat-template.") from None
    elif not tokenizer.chat_template:
        tokenizer.chat_template = PLAIN_AFTER_BOS if _begins_with_bos(tokenizer) else PLAIN
    where = path or name
    try:
        chat = Chat(tokenizer, where, day)
    except CaiError as error:
        raise CaiError(error.message, "Give another one with --chat-template.") from None
    ends = end_tokens(base) | {tokenizer.eos_token_id} - {None}
    end = chat.end_token(ends)
    if end is None:
        raise CaiError(
            f"{where}: the chat template puts no end token after an answer",
            "A model that is trained so never stops: give another one with --chat-template.",
        )
    if tokenizer.convert_tokens_to_ids(end) not in ends:
        tokenizer.eos_token = end
    if tokenizer.pad_token is None:
        tokenizer.pad_token = tokenizer.eos_token or end
    template = digest([tokenizer.chat_template, tokenizer.eos_token])
    if trained_with is not None and template != trained_with:
        raise CaiError(
            f"{name}: it was trained with another chat template",
            "Leave --chat-template out: the model's folder has the one it knows.",
        )
    return ChatFormat(chat, end, template)


def end_tokens(base: Path) -> set[int]:
    """The ids that end generation, by a model's configuration files."""
    ids: set[int] = set()
    for file in ("generation_config.json", "config.json"):
        path = base / file
        config = json.loads(path.read_text("utf-8")) if path.is_file() else {}
        for part in (config, config.get("text_config") or {}):
            value = part.get("eos_token_id")
            ids |= set(value if isinstance(value, list) else [] if value is None else [value])
    return ids


def _begins_with_bos(tokenizer: Any) -> bool:
    bos = tokenizer.bos_token_id
    return bos is not None and tokenizer.encode("x")[:1] == [bos]
