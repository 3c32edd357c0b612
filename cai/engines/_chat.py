"""Conversations to token ids, so that the text of a message stays text."""

from __future__ import annotations

import re
import secrets
import threading
from collections import Counter
from collections.abc import Sequence
from typing import Any, NamedTuple

from cai.engines.reasoning import TAGS
from cai.errors import CaiError, CallError
from cai.records import Message

Turns = list[dict[str, str]]

TRANSCRIPT_STOPS = ("\n\nHuman:", "\n\nAssistant:")
_STOP_TOKENS = 24  # a stop string is at most this many tokens, even byte by byte
_SPEAKERS = {"user": "Human", "assistant": "Assistant"}


def transcript(turns: Turns) -> str:
    """The format for models without a chat template: speakers named, system text in front."""
    lines = [
        turn["content"]
        if turn["role"] == "system"
        else f"{_SPEAKERS[turn['role']]}: {turn['content']}"
        for turn in turns
    ]
    return "\n\n".join([*lines, "Assistant:"])


def fold_system(turns: Turns) -> Turns:
    """The same turns with the system text at the head of the first user turn."""
    system = "\n\n".join(t["content"] for t in turns if t["role"] == "system")
    rest = [dict(t) for t in turns if t["role"] != "system"]
    if system and rest:
        rest[0]["content"] = f"{system}\n\n{rest[0]['content']}"
    return rest


class Prompted(NamedTuple):
    """A prompt as the model gets it; `thinking` if it ends inside an open reasoning block."""

    ids: list[int]
    thinking: bool


class Chat:
    """A tokenizer with its chat template, or with the plain transcript format if it has none.

    Args:
        tokenizer: A transformers tokenizer.
    """

    def __init__(self, tokenizer: Any) -> None:
        self.tokenizer = tokenizer
        # Encoding changes the tokenizer's state for a moment, and the worker decodes meanwhile.
        self._lock = threading.Lock()
        self.template: str | None = tokenizer.chat_template or None
        self.stops: tuple[str, ...] = () if self.template else TRANSCRIPT_STOPS
        self._control = self._control_tokens()
        longest_first = sorted(self._control, key=len, reverse=True)
        self._control_pattern = re.compile("|".join(map(re.escape, longest_first)) or r"(?!)")
        self._control_ids = set(self._control.values()) - {tokenizer.unk_token_id}
        self._bos = self._transcript_bos()
        self._structures: dict[tuple[tuple[str, bool], ...], Counter[int]] = {}
        self._folds_system = self.template is not None and not self._takes_system()

    def encode(self, messages: Sequence[Message], answer: str | None = None) -> Prompted:
        """The ids of a conversation up to where the answer begins, or up to the end of `answer`.

        With an `answer` a reasoning block that the template has opened is closed first.

        Raises:
            CallError: The template refuses the conversation, or a text cannot be kept apart from
                the tokens that structure it.
        """
        turns = [{"role": m.role, "content": m.content} for m in messages]
        if self._folds_system:
            turns = fold_system(turns)
        with self._lock:
            ids, thinking = self._tokenise(turns, answer)
            structure = self._structure(turns, with_answer=answer is not None)
        if self._control_count(ids) != structure:
            raise CallError("the text of a message would be read as control tokens of the template")
        return Prompted(ids, thinking)

    def label_ids(self, choices: Sequence[str], answer_prefix: str) -> list[int]:
        """The token that each label is after `answer_prefix`.

        Raises:
            CaiError: A label is not one token there, or two labels are the same token.
        """
        probe = (Message(role="user", content="A or B?"),)
        before = self.encode(probe, answer_prefix).ids
        found: list[int] = []
        for choice in choices:
            after = self.encode(probe, answer_prefix + choice).ids
            if len(after) != len(before) + 1 or after[:-1] != before:
                raise CaiError(
                    f"the label {choice!r} is not one token of this model after {answer_prefix!r}",
                    "Use single letters, and end the text before them in a bracket, not a space.",
                )
            found.append(after[-1])
        if len(set(found)) != len(found):
            raise CaiError(f"the labels {list(choices)} are not distinct tokens of this model")
        return found

    def decode(self, ids: Sequence[int]) -> str:
        """The text of generated ids: control tokens are dropped, reasoning tags are kept."""
        text = self._decoded(ids)
        cuts = [at for stop in self.stops if (at := text.find(stop)) >= 0]
        text = text[: min(cuts)] if cuts else text
        return text if self.template else text.removeprefix(" ")

    def stopped(self, ids: Sequence[int]) -> bool:
        """Whether the newest tokens complete a stop string (transcript format only)."""
        if not self.stops:
            return False
        tail = self._decoded(ids[-_STOP_TOKENS:])
        return any(stop in tail for stop in self.stops)

    def _decoded(self, ids: Sequence[int]) -> str:
        tags = {f"<{slash}{tag}>" for tag in TAGS for slash in ("", "/")}
        special = self.tokenizer.added_tokens_decoder
        kept = [
            i
            for i in ids
            if i not in special or not special[i].special or special[i].content in tags
        ]
        with self._lock:
            text: str = self.tokenizer.decode(
                kept, skip_special_tokens=False, clean_up_tokenization_spaces=False
            )
        return text

    def _render(self, turns: Turns) -> str:
        if self.template is None:
            return transcript(turns)
        from jinja2.exceptions import TemplateError

        try:
            rendered: str = self.tokenizer.apply_chat_template(
                turns, tokenize=False, add_generation_prompt=True, enable_thinking=False
            )
        except TemplateError as error:
            raise CallError(f"the chat template refuses the conversation: {error}") from error
        return rendered

    def _tokenise(self, turns: Turns, answer: str | None) -> tuple[list[int], bool]:
        """Render with stand-ins for control tokens in the texts, then put those in as plain text.

        What holds none of them is tokenised in one piece, exactly as the template intends.
        """
        nonce = secrets.token_hex(8)
        while any(nonce in t["content"] for t in turns):
            nonce = secrets.token_hex(8)
        taken: list[str] = []

        def stand_in(match: re.Match[str]) -> str:
            taken.append(match[0])
            return f"[{nonce}:{len(taken) - 1}]"

        safe = [{**t, "content": self._control_pattern.sub(stand_in, t["content"])} for t in turns]
        text = self._render(safe)
        thinking = text.rstrip().endswith(tuple(f"<{tag}>" for tag in TAGS))
        if answer is not None:
            text += self._answer_lead(text, answer) + self._control_pattern.sub(stand_in, answer)
        pieces = re.split(rf"\[{nonce}:(\d+)\]", text)
        ids = [*self._bos, *self.tokenizer.encode(pieces[0], add_special_tokens=False)]
        for number, after in zip(pieces[1::2], pieces[2::2], strict=True):
            ids += self._as_text(taken[int(number)])
            ids += self._continued(after)
        return ids, thinking

    def _answer_lead(self, text: str, answer: str) -> str:
        for tag in TAGS:
            if text.rstrip().endswith(f"<{tag}>"):
                return f"\n</{tag}>\n\n"
        return " " if answer and not text[-1].isspace() and self.template is None else ""

    def _as_text(self, token: str) -> list[int]:
        """A control token's name as ordinary tokens: cut in two it is not found as a token."""
        ids = self._continued(token, split_special_tokens=True)
        if self._control_ids & set(ids):
            ids = self._continued(token[:1]) + self._continued(token[1:])
        return ids

    def _continued(self, text: str, **options: Any) -> list[int]:
        """Ids of a text in mid-sentence: some tokenizers put a space before the start of one."""
        if not text:
            return []
        encode = self.tokenizer.encode
        anchor: list[int] = encode("\n", add_special_tokens=False, **options)
        ids: list[int] = encode("\n" + text, add_special_tokens=False, **options)
        if ids[: len(anchor)] == anchor:
            return ids[len(anchor) :]
        whole: list[int] = encode(text, add_special_tokens=False, **options)
        return whole

    def _control_tokens(self) -> dict[str, int]:
        """Added tokens that give a text its structure: special ones and those in the template."""
        written = self.template or ""
        return {
            token.content: index
            for index, token in self.tokenizer.added_tokens_decoder.items()
            if token.special or (token.content in written and not token.content.isspace())
        }

    def _control_count(self, ids: Sequence[int]) -> Counter[int]:
        return Counter(i for i in ids if i in self._control_ids)

    def _structure(self, turns: Turns, *, with_answer: bool) -> Counter[int]:
        """How often each control token stands in such a conversation if its texts are harmless."""
        key = (*((t["role"], bool(t["content"].strip())) for t in turns), ("answer", with_answer))
        if key not in self._structures:
            plain = [{**t, "content": "x" if t["content"].strip() else ""} for t in turns]
            ids, _ = self._tokenise(plain, "x" if with_answer else None)
            self._structures[key] = self._control_count(ids)
        return self._structures[key]

    def _takes_system(self) -> bool:
        mark = secrets.token_hex(8)
        turns = [{"role": "system", "content": mark}, {"role": "user", "content": "x"}]
        try:
            return mark in self._render(turns)
        except CallError:
            return False

    def _transcript_bos(self) -> list[int]:
        bos = self.tokenizer.bos_token_id
        if self.template is not None or bos is None:
            return []
        return [bos] if self.tokenizer.encode("x")[:1] == [bos] else []
