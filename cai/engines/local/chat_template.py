"""What a chat template writes, found by filling it in with marked texts.

Nothing is known of a family by its name: where an answer begins and how it ends, how reasoning is
told from it, whether a system text survives and whether today's date is written are read off what
the template makes of conversations whose texts are marks.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from datetime import date, datetime, time
from pathlib import Path
from typing import Any

from cai.engines.reasoning import TAGS
from cai.errors import CaiError, CallError
from cai.records import Record, digest

Turns = Sequence[Mapping[str, Any]]

# Thinking is switched off where a template knows the switch; one that does not ignores it.
ARGUMENTS: dict[str, Any] = {"enable_thinking": False}
_OPENED = re.compile(rf"(?:<({'|'.join(TAGS)})>|\[(THINK)\])\s*\Z", re.IGNORECASE)
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
        found = {}
        if self.dated:
            found["date"] = day.isoformat()
        if self.lead != self.first_lead:
            found["lead"] = digest(self.lead)[:8]
        if self.opening and not _FIRST_TAGS.fullmatch(self.opening.strip()):
            found["reasoning"] = digest([self.opening, self.closing])[:8]
        if "multi-turn" in self.folds and "single-turn" not in self.folds:
            found["system"] = "first-turn"
        if self.parts:
            found["texts"] = "parts"
        if self.of_processor:
            found["template"] = "processor"
        return found


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
        ValueError: The file is no JSON object.
    """
    path = folder / "chat_template.json"
    if not path.is_file():
        return None
    found = json.loads(path.read_text("utf-8"))
    if not isinstance(found, dict):
        raise ValueError(f"{path}: no JSON object")
    return found.get("chat_template")


def template_text(tokenizer: Any, name: str = "") -> str | None:
    """The template for conversations without tools; None where a tokenizer has none.

    Raises:
        CaiError: There are several by name, and none of them is the default.
    """
    return _default(tokenizer.chat_template, name)


def template_in(folder: Path, name: str) -> str | None:
    """As `template_text`, read off the files of a folder alone, in transformers' order.

    Raises:
        CaiError: As `template_text`.
        ValueError: A file is no JSON object.
    """
    jinja, config = folder / "chat_template.jinja", folder / "tokenizer_config.json"
    if jinja.is_file():
        return jinja.read_text("utf-8")
    template = (
        json.loads(config.read_text("utf-8")).get("chat_template") if config.is_file() else None
    )
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


def read_template(tokenizer: Any, template: str, name: str) -> TemplateFacts:
    """What a template writes around the texts.

    Raises:
        CaiError: It cannot be told where an answer begins.
    """
    reader = _Reader(tokenizer, template, name)
    if not reader.keeps_texts():
        reader.parts = True
        if not reader.keeps_texts():
            why = reader.refusal or "it leaves out what is said"
            raise CaiError(f"{name}: the chat template is not understood: {why}", _OTHER)
    return reader.facts()


class _Reader:
    """Fills in one template again and again."""

    def __init__(self, tokenizer: Any, template: str, name: str) -> None:
        self._tokenizer, self._template, self._name = tokenizer, template, name
        self.parts = False
        self.refusal = ""

    def keeps_texts(self) -> bool:
        """Whether a question stands before its answer, and the answer after it."""
        asked = self._try([_USER])
        whole = self._try([_USER, _ANSWER], prompt=False)
        return mark(0) in asked and 0 <= whole.find(mark(0)) < whole.find(mark(1))

    def facts(self) -> TemplateFacts:
        asked = self._render([_USER])
        before, _, tail = self._render([_USER, _ANSWER], prompt=False).partition(mark(1))
        opening, closing, opens = self._reasoning(asked)
        follows = self._try([_USER, _ANSWER, _turn("user", mark(2))], prompt=False)
        next_head = _between(follows, mark(1), mark(2))
        return TemplateFacts(
            lead=self._lead(asked, before, closing, opens=opens),
            tail=tail,
            next_head=next_head,
            opens=opens,
            opening=opening,
            closing=closing,
            parts=self.parts,
            folds=tuple(shape for shape, turns in _SYSTEM.items() if self._loses(turns)),
            trims=self._trims(),
            dated=asked != self._render([_USER], day=date(2010, 11, 30)),
            own_system=_own_system(asked[: asked.index(mark(0))], next_head),
            first_lead=_first_lead(asked),
        )

    def _render(self, turns: Turns, *, prompt: bool = True, day: date = date(2001, 2, 3)) -> str:
        return render(self._tokenizer, self._template, turns, day, prompt=prompt, parts=self.parts)

    def _try(self, turns: Turns, *, prompt: bool = True) -> str:
        try:
            return self._render(turns, prompt=prompt)
        except CallError as error:
            self.refusal = str(error)
            return ""

    def _lead(self, asked: str, before: str, closing: str, *, opens: bool) -> str:
        if before.startswith(asked):
            return before[len(asked) :]
        if opens:
            return closing
        # White space at the end of the generation prompt, and otherwise nothing that differs.
        if before.rstrip() == asked.rstrip():
            return ""
        raise CaiError(
            f"{self._name}: the chat template is not understood: the generation prompt ends in "
            f"{asked[-40:]!r}, but the text of an answer stands after {before[-40:]!r}",
            _OTHER,
        )

    def _reasoning(self, asked: str) -> tuple[str, str, bool]:
        """What opens and closes a block of reasoning, and whether the prompt has opened one."""
        for answer in _REASONED:
            whole = self._try([_USER, answer], prompt=False)
            at, end = whole.find(mark(3)), whole.find(mark(1))
            closing = whole[at + len(mark(3)) : end]
            if 0 <= at < end and closing.strip() and "type" not in closing:  # no list as it is
                return _block(asked, whole[:at], closing)
        for opening, closing in self._pairs():
            cut = self._try([_USER, _turn("assistant", opening + mark(3) + closing + mark(1))])
            if mark(1) in cut and mark(3) not in cut:
                opens = asked.rstrip().endswith(opening)
                return opening, f"\n{closing}\n\n" if opens else closing, opens
        opened = _OPENED.search(asked)
        if opened is None:
            return "", "", False
        tag = f"[/{opened[2]}]" if opened[2] else f"</{opened[1]}>"
        return opened[0].strip(), f"\n{tag}\n\n", True

    def _pairs(self) -> list[tuple[str, str]]:
        """Tags of which the template names the closing one, which it may cut at."""
        slashed = [(f"<{n}>", f"</{n}>") for n in re.findall(r"</([\w:]+)>", self._template)]
        barred = [(f"<|{n}>", f"<{n}|>") for n in re.findall(r"<(\w+)\|>", self._template)]
        return list(dict.fromkeys(slashed + barred))

    def _loses(self, turns: Turns) -> bool:
        rendered = self._try(turns)
        return any(turn["content"] not in rendered for turn in turns)

    def _trims(self) -> bool:
        spaced = f"  {mark(1)}  "
        whole = self._try([_USER, _turn("assistant", spaced)], prompt=False)
        return mark(1) in whole and spaced not in whole


_OTHER = "Use a model whose template transformers can fill in, or save its tokenizer with another."


def _turn(role: str, content: Any, **more: str) -> dict[str, Any]:
    return {"role": role, "content": content, **more}


_USER, _ANSWER = _turn("user", mark(0)), _turn("assistant", mark(1))
_SYSTEM: dict[str, Turns] = {
    "single-turn": [_turn("system", mark(4)), _USER],
    "multi-turn": [_turn("system", mark(4)), _USER, _ANSWER, _turn("user", mark(2))],
}
# The ways in which templates take the reasoning of an answer; transformers adds its other names.
_REASONED: tuple[dict[str, Any], ...] = (
    _turn("assistant", mark(1), reasoning_content=mark(3)),
    _turn(
        "assistant",
        [{"type": "thinking", "thinking": mark(3)}, {"type": "text", "text": mark(1)}],
    ),
)


def _block(asked: str, before: str, closing: str) -> tuple[str, str, bool]:
    """The markers of a block of reasoning that stands after `before` and ends in `closing`."""
    alike = shared(asked, before)
    opening, rest = before[alike:], asked[alike:]
    if opening.strip():
        return opening, closing, False
    # The prompt has opened the block, and closed it again where thinking is switched off.
    mirrored = closing.strip().replace("/", "", 1)
    at = before.rstrip().rfind(mirrored) if mirrored else -1
    opening = before[at:] if at >= 0 else ""
    return opening, closing, closing.strip() not in rest


def _own_system(header: str, next_head: str) -> str | None:
    """Words before the first turn's text that do not stand before that of every user turn."""
    alike = shared(header[::-1], next_head[::-1])
    words = re.sub(r"<[^<>\s]{1,40}>|\[/?[A-Z_]+\]", " ", header[: len(header) - alike])
    words = re.sub(r"\A\s*(?:system|developer)\b", "", words).strip()
    return words if re.search(r"\w\w+\W+\w\w+", words) else None


def _between(text: str, first: str, second: str) -> str:
    at, end = text.find(first), text.find(second)
    return text[at + len(first) : end] if 0 <= at < end else ""


def _first_lead(asked: str) -> str:
    for tag in ("think", "thinking", "reasoning"):
        if asked.rstrip().endswith(f"<{tag}>"):
            return f"\n</{tag}>\n\n"
    return ""
