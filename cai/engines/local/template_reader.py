"""What a chat template writes around the texts, read off it by filling in marks."""

from __future__ import annotations

import re
from datetime import date
from typing import Any

from cai.engines.local.chat_template import TemplateFacts, Turns, mark, render, shared
from cai.engines.reasoning import TAGS
from cai.errors import CaiError, CallError

_OPENED = re.compile(rf"(?:<({'|'.join(TAGS)})>|\[(THINK)\])\s*\Z", re.IGNORECASE)


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
        prompt = self._try([_USER])
        whole = self._try([_USER, _ANSWER], prompt=False)
        return mark(0) in prompt and 0 <= whole.find(mark(0)) < whole.find(mark(1))

    def facts(self) -> TemplateFacts:
        prompt = self._render([_USER])
        before, _, tail = self._render([_USER, _ANSWER], prompt=False).partition(mark(1))
        opening, closing, opens = self._reasoning(prompt)
        follows = self._try([_USER, _ANSWER, _turn("user", mark(2))], prompt=False)
        next_head = _between(follows, mark(1), mark(2))
        return TemplateFacts(
            lead=self._lead(prompt, before, closing, opens=opens),
            tail=tail,
            next_head=next_head,
            opens=opens,
            opening=opening,
            closing=closing,
            parts=self.parts,
            folds=tuple(shape for shape, turns in _SYSTEM.items() if self._loses(turns)),
            trims=self._trims(),
            dated=prompt != self._render([_USER], day=date(2010, 11, 30)),
            own_system=_own_system(prompt[: prompt.index(mark(0))], next_head),
            first_lead=_first_lead(prompt),
        )

    def _render(self, turns: Turns, *, prompt: bool = True, day: date = date(2001, 2, 3)) -> str:
        return render(self._tokenizer, self._template, turns, day, prompt=prompt, parts=self.parts)

    def _try(self, turns: Turns, *, prompt: bool = True) -> str:
        try:
            return self._render(turns, prompt=prompt)
        except CallError as error:
            self.refusal = str(error)
            return ""

    def _lead(self, prompt: str, before: str, closing: str, *, opens: bool) -> str:
        if before.startswith(prompt):
            return before[len(prompt) :]
        if opens:
            return closing
        # White space at the end of the generation prompt, and otherwise nothing that differs.
        if before.rstrip() == prompt.rstrip():
            return ""
        raise CaiError(
            f"{self._name}: the chat template is not understood: the generation prompt ends in "
            f"{prompt[-40:]!r}, but the text of an answer stands after {before[-40:]!r}",
            _OTHER,
        )

    def _reasoning(self, prompt: str) -> tuple[str, str, bool]:
        """What opens and closes a block of reasoning, and whether the prompt has opened one."""
        for answer in _REASONED:
            whole = self._try([_USER, answer], prompt=False)
            at, end = whole.find(mark(3)), whole.find(mark(1))
            closing = whole[at + len(mark(3)) : end]
            if 0 <= at < end and closing.strip() and "type" not in closing:  # no list as it is
                return _block(prompt, whole[:at], closing)
        for opening, closing in self._pairs():
            cut = self._try([_USER, _turn("assistant", opening + mark(3) + closing + mark(1))])
            if mark(1) in cut and mark(3) not in cut:
                opens = prompt.rstrip().endswith(opening)
                return opening, f"\n{closing}\n\n" if opens else closing, opens
        opened = _OPENED.search(prompt)
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


def _block(prompt: str, before: str, closing: str) -> tuple[str, str, bool]:
    """The markers of a block of reasoning that stands after `before` and ends in `closing`."""
    alike = shared(prompt, before)
    opening, rest = before[alike:], prompt[alike:]
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


def _first_lead(prompt: str) -> str:
    for tag in ("think", "thinking", "reasoning"):
        if prompt.rstrip().endswith(f"<{tag}>"):
            return f"\n</{tag}>\n\n"
    return ""
