"""What a chat template writes, found by filling it in with marked texts.

Nothing is known of a family by its name: where an answer begins and how it ends, how reasoning is
told from it, whether a system text survives and whether today's date is written are read off what
the template makes of conversations whose texts are marks.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from datetime import date, datetime, time
from pathlib import Path
from typing import Any

from cai.engines.local.weights import json_object
from cai.errors import CaiError, CallError
from cai.records import Record, digest

Turns = Sequence[Mapping[str, Any]]

# Thinking is switched off where a template knows the switch; one that does not ignores it.
ARGUMENTS: dict[str, Any] = {"enable_thinking": False}
_STRFTIME = "aAbBcdHIjmMpSUwWxXyYZ"
_MARK = "qz{}vx"  # letters alone: no template takes them for anything


class TemplateFacts(Record):
    """What a template writes around the texts.

    Attributes:
        lead: Between the generation prompt and the text of an answer.
        tail: After the text of the last answer.
        next_head: Between the text of an answer and that of the user's next turn.
        opens: Whether the generation prompt ends inside a block of reasoning.
        opening: What begins a block of reasoning, where the template knows one.
        closing: What ends it, up to the answer.
        parts: Whether texts are taken as lists of parts only, as templates for images do.
        folds: The shapes of conversation in which a system text gets lost or is refused.
        trims: Whether white space around an answer's text is taken off.
        dated: Whether today's date is written.
        own_system: System text that the template adds where a conversation has none.
        first_lead: The lead that version 0.1.0 took for labels.
        of_processor: Whether it lies beside the processor alone, where 0.1.0 did not look.
    """

    lead: str
    tail: str
    next_head: str
    opens: bool
    opening: str
    closing: str
    parts: bool
    folds: tuple[str, ...]
    trims: bool
    dated: bool
    own_system: str | None
    first_lead: str
    of_processor: bool = False

    def differences(self, day: date) -> dict[str, str]:
        """What a model is fed, or read by, otherwise than by version 0.1.0; by name, as digests."""
        differences = {}
        if self.dated:
            differences["date"] = day.isoformat()
        if self.lead != self.first_lead:
            differences["lead"] = digest(self.lead)[:8]
        if self.opening and not _FIRST_TAGS.fullmatch(self.opening.strip()):
            differences["reasoning"] = digest([self.opening, self.closing])[:8]
        if "multi-turn" in self.folds and "single-turn" not in self.folds:
            differences["system"] = "first-turn"
        if self.parts:
            differences["texts"] = "parts"
        if self.of_processor:
            differences["template"] = "processor"
        return differences


# The tags that version 0.1.0 took for reasoning.
_FIRST_TAGS = re.compile(r"<(?:think|thinking|reasoning)>", re.IGNORECASE)


def today() -> date:
    """The day, as it is on this machine."""
    return datetime.now().astimezone().date()


def shared(some: Sequence[Any], others: Sequence[Any]) -> int:
    """How many items (tokens, letters) two sequences have in common at their start."""
    pairs = zip(some, others, strict=False)
    return next((n for n, (a, b) in enumerate(pairs) if a != b), min(len(some), len(others)))


def mark(number: int) -> str:
    """A text that stands for a message's; no two contain each other."""
    return _MARK.format(chr(ord("a") + number // 26) + chr(ord("a") + number % 26))


def load_tokenizer(folder: Path, **options: Any) -> Any:
    """A model's tokenizer, with the chat template of the folder wherever that lies.

    Models for images and text may have it beside their processor alone, in chat_template.json,
    which transformers' tokenizers do not read.
    """
    from transformers import AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(folder, **options)
    if not tokenizer.chat_template:
        tokenizer.chat_template = processor_template(folder)
    return tokenizer


def processor_template(folder: Path) -> Any:
    """The template, or those by name, in a folder's chat_template.json; None without one.

    Raises:
        CaiError: The file is no JSON object.
    """
    path = folder / "chat_template.json"
    return json_object(path).get("chat_template") if path.is_file() else None


def template_text(tokenizer: Any, name: str = "") -> str | None:
    """The template for conversations without tools; None where a tokenizer has none.

    Raises:
        CaiError: There are several by name, and none of them is the default.
    """
    return _default(tokenizer.chat_template, name)


def template_in(folder: Path, name: str) -> str | None:
    """As `template_text`, read off the files of a folder alone, in transformers' order.

    Raises:
        CaiError: As `template_text`, or a file is no JSON object.
    """
    jinja, config = folder / "chat_template.jinja", folder / "tokenizer_config.json"
    if jinja.is_file():
        return jinja.read_text("utf-8")
    template = json_object(config).get("chat_template") if config.is_file() else None
    if isinstance(template, list):
        template = {one["name"]: one["template"] for one in template}
    return _default(template or processor_template(folder), name)


def _default(template: Any, name: str) -> str | None:
    if not template:
        return None
    if isinstance(template, str):
        return template
    if "default" not in template:
        there = ", ".join(template)
        raise CaiError(
            f"{name}: several chat templates and none is named default: {there}",
            "Save the tokenizer with one of them as its chat_template.",
        )
    return str(template["default"])


def on_day(template: str, day: date) -> str:
    """The template with `strftime_now`, as transformers offers it, held at the start of a day."""
    if "strftime_now" not in template:
        return template
    filled = "format"
    for code in _STRFTIME:
        for written in (f"%-{code}", f"%{code}"):
            filled += f" | replace({written!r}, {_formatted(day, written)!r})"
    macro = "{%- macro strftime_now(format) -%}{{ " + filled + " }}{%- endmacro %}{{ '' }}"
    return macro + template


def _formatted(day: date, code: str) -> str:
    return datetime.combine(day, time()).strftime(code)


def render(
    tokenizer: Any,
    template: str,
    turns: Turns,
    day: date,
    *,
    prompt: bool = True,
    parts: bool = False,
) -> str:
    """A conversation as text; with `prompt`, up to where an answer begins.

    Raises:
        CallError: The template refuses the conversation.
    """
    from jinja2.exceptions import TemplateError

    if parts:
        turns = [{**turn, "content": _parts(turn["content"])} for turn in turns]
    try:
        rendered: str = tokenizer.apply_chat_template(
            list(turns),
            chat_template=on_day(template, day),
            tokenize=False,
            add_generation_prompt=prompt,
            **ARGUMENTS,
        )
    except (TemplateError, TypeError, ValueError) as error:
        raise CallError(f"the chat template refuses the conversation: {error}") from error
    return rendered


def _parts(content: Any) -> Any:
    return [{"type": "text", "text": content}] if isinstance(content, str) else content
