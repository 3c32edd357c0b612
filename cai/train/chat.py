"""The chat template of a model that is trained: its own, the user's, or a plain one of ours."""

from __future__ import annotations

from pathlib import Path
from typing import Any

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
_TALK = [
    {"role": "user", "content": "one"},
    {"role": "assistant", "content": "two"},
]


def settle_template(tokenizer: Any, name: str, path: str | None, trained_with: str | None) -> str:
    """Give the tokenizer its template and return the template's digest.

    Args:
        tokenizer: Changed in place.
        name: The model's name, for errors.
        path: A file with a template that replaces the model's own.
        trained_with: The digest of the template that the model was trained with, if it was.

    Raises:
        CaiError: The template cannot be read or filled in, an answer does not go on from its
            prompt, or the model was trained with another template.
    """
    if path is not None:
        try:
            tokenizer.chat_template = Path(path).read_text(encoding="utf-8")
        except (OSError, UnicodeDecodeError) as error:
            raise InputError(path, f"cannot be read: {error}", "Check --chat-template.") from None
    elif tokenizer.chat_template is None:
        tokenizer.chat_template = PLAIN
    if tokenizer.eos_token is None:
        raise CaiError(
            f"{name}: the tokenizer has no end token", "Set eos_token in tokenizer_config.json."
        )
    if tokenizer.pad_token is None:
        tokenizer.pad_token = tokenizer.eos_token
    _check(tokenizer, path or name)
    found = digest([tokenizer.chat_template, tokenizer.eos_token])
    if trained_with is not None and found != trained_with:
        raise CaiError(
            f"{name}: it was trained with another chat template",
            "Leave --chat-template out: the model's folder has the one it knows.",
        )
    return found


def _check(tokenizer: Any, where: str) -> None:
    from jinja2 import TemplateError

    render = tokenizer.apply_chat_template
    try:
        asked = render(_TALK[:1], tokenize=False, add_generation_prompt=True)
        whole = render(_TALK, tokenize=False)
    except (TemplateError, TypeError, ValueError) as error:
        raise CaiError(f"{where}: the chat template cannot be filled in: {error}") from None
    if not whole.startswith(asked):
        raise CaiError(
            f"{where}: an answer does not go on from its prompt in this chat template",
            "With add_generation_prompt it must end where the answer begins; or give another one "
            "with --chat-template.",
        )
    if tokenizer.eos_token not in whole[len(asked) :]:
        raise CaiError(
            f"{where}: the chat template puts no end token {tokenizer.eos_token} after an answer",
            "A model that is trained so never stops: give another one with --chat-template.",
        )
