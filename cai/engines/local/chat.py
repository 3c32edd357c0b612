"""Conversations to token ids, so that the text of a message stays text.

Long, as ids for generation, for training and for labels must come out of one class.
"""

from __future__ import annotations

import re
import secrets
import threading
from collections import Counter
from collections.abc import Collection, Sequence
from datetime import date
from itertools import groupby
from typing import Any, NamedTuple

from cai.engines.local.chat_template import mark, render, shared, template_text, today
from cai.engines.local.output import Output
from cai.engines.local.template_reader import read_template
from cai.engines.reasoning import is_tag, split_reasoning
from cai.engines.transcript import TRANSCRIPT_STOPS, Turns, fold_system, transcript
from cai.errors import CaiError, CallError
from cai.records import Message, messages_as_data

_STOP_TOKENS = 24  # a stop string is at most this many tokens, even byte by byte


def _is_dropped(token: Any) -> bool:
    """Whether an added token is structure and no text; the tags of reasoning are read later."""
    return bool(token.special) and not is_tag(token.content)


class Prompted(NamedTuple):
    """A prompt as the model gets it; `thinking` if it ends inside an open reasoning block."""

    ids: list[int]
    thinking: bool


class Learnt(NamedTuple):
    """A conversation to learn from: ids of which those from `start` on are learnt."""

    ids: list[int]
    start: int


class _Shape(NamedTuple):
    """How conversations with turns of these roles are filled in, or why they are not."""

    folds: bool
    problem: str | None


class _Filled:
    """A conversation with its template: texts with stand-ins for the control tokens in them."""

    def __init__(self, nonce: str, turns: Turns, control: re.Pattern[str]) -> None:
        self.turns, self.prompt = turns, ""
        self.taken: list[str] = []
        self.stand_in = re.compile(rf"\[{nonce}:(\d+)\]")
        self._nonce, self._control = nonce, control

    def safe(self, text: str) -> str:
        """The text with stand-ins, which are told apart by their numbers."""
        return self._control.sub(self._stand_in, text)

    def _stand_in(self, token: re.Match[str]) -> str:
        self.taken.append(token[0])
        return f"[{self._nonce}:{len(self.taken) - 1}]"


class Chat:
    """A tokenizer with its chat template, or with the plain transcript format if it has none.

    Args:
        tokenizer: A transformers tokenizer.
        name: The model's name, for errors.
        day: The date for templates that write one; today by default.

    Raises:
        CaiError: It cannot be told from the template where an answer begins.
    """

    def __init__(self, tokenizer: Any, name: str = "the model", day: date | None = None) -> None:
        self.tokenizer = tokenizer
        self._day = day or today()
        # Encoding changes the tokenizer's state for a moment, and the worker decodes meanwhile.
        self._lock = threading.Lock()
        self.template = template_text(tokenizer, name)
        self.facts = read_template(tokenizer, self.template, name) if self.template else None
        self.stops: tuple[str, ...] = () if self.template else TRANSCRIPT_STOPS
        self._control = self._control_tokens()
        longest_first = sorted(self._control, key=len, reverse=True)
        self._control_pattern = re.compile("|".join(map(re.escape, longest_first)) or r"(?!)")
        self._control_ids = set(self._control.values()) - {tokenizer.unk_token_id}
        self._bos = self._transcript_bos()
        self._counts: dict[tuple[Any, ...], Counter[int]] = {}
        self._shapes: dict[tuple[tuple[str, bool], ...], _Shape] = {}
        special = tokenizer.added_tokens_decoder
        kept = {t for t, i in self._control.items() if not _is_dropped(special[i])}
        self._output = Output(self.facts, self._control_pattern, kept)

    def encode(self, messages: Sequence[Message], answer: str | None = None) -> Prompted:
        """The ids of a conversation up to where the answer begins, or up to the end of `answer`.

        With an `answer` what the template writes before one stands between: a channel, a closed
        block of reasoning, a space.

        Raises:
            CallError: The template refuses the conversation or leaves a text out, or a text cannot
                be kept apart from the tokens that structure it.
        """
        with self._lock:
            filled = self._filled(self._placed(messages), [answer or ""])
            text = filled.prompt
            if answer is not None:
                text += self._lead(answer) + filled.safe(answer)
            ids = self._checked(self._ids(text, filled), filled, answer is not None)
        return Prompted(ids, answer is None and self.facts is not None and self.facts.opens)

    def learnt(self, messages: Sequence[Message], answers: Sequence[str], end: str) -> list[Learnt]:
        """The ids of a conversation with each answer and the end token, of which these are learnt.

        The prompt is the very one that an answer would be generated from.

        Raises:
            CallError: As in `encode`, or nothing of an answer is left.
        """
        if self.facts is not None and self.facts.trims:
            answers = [answer.strip() for answer in answers]
        with self._lock:
            filled = self._filled(self._placed(messages), answers)
            prompt, lead = self._ids(filled.prompt, filled), self._lead(end)
            before = self._after(prompt, lead, filled) if lead else prompt
            rows = [
                self._checked(
                    self._after(prompt, lead + filled.safe(a) + end, filled), filled, True, end
                )
                for a in answers
            ]
        examples = [Learnt(ids, shared(before, ids)) for ids in rows]
        if any(row.start >= len(row.ids) - 1 for row in examples):
            raise CallError("the chat template leaves nothing of the answer")
        return examples

    def moves_system(self, messages: Sequence[Message]) -> bool:
        """Whether a system text of theirs goes into a user turn."""
        return self._placed(messages) != messages_as_data(messages)

    def end_token(self, ends: Collection[int]) -> str | None:
        """The token that ends an answer: of those that stop the model, else what is written.

        What is written is the first control token after an answer, where it follows at once. None
        where neither is there.
        """
        if self.facts is None:
            return None
        written = [self.facts.tail, self.facts.next_head]
        for text in written:
            for token in self._control_pattern.findall(text):
                if self._control[token] in ends:
                    return str(token)
        first = self._control_pattern.match(self.facts.tail.lstrip())
        return first[0] if first else None

    def read(self, ids: Sequence[int]) -> tuple[str, str | None]:
        """The answer and the reasoning of what a model wrote."""
        text = self.decode(ids)
        if self.facts is None:
            return split_reasoning(text, opened=False)
        return self._output.split(self._marked(ids), text)

    def label_ids(self, choices: Sequence[str], answer_prefix: str) -> list[int]:
        """The token that each label is after `answer_prefix`.

        Raises:
            CaiError: A label is not one token there, or two labels are the same token.
        """
        probe = (Message(role="user", content="A or B?"),)
        before = self.encode(probe, answer_prefix).ids
        ids: list[int] = []
        for choice in choices:
            after = self.encode(probe, answer_prefix + choice).ids
            if len(after) != len(before) + 1 or after[:-1] != before:
                raise CaiError(
                    f"the label {choice!r} is not one token of this model after {answer_prefix!r}",
                    "Use single letters, and end the text before them in a bracket, not a space.",
                )
            ids.append(after[-1])
        if len(set(ids)) != len(ids):
            raise CaiError(f"the labels {list(choices)} are not distinct tokens of this model")
        return ids

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
        special = self.tokenizer.added_tokens_decoder
        content = [i for i in ids if i not in special or not _is_dropped(special[i])]
        with self._lock:
            return self._text_of(content)

    def _text_of(self, ids: Sequence[int]) -> str:
        text: str = self.tokenizer.decode(
            ids, skip_special_tokens=False, clean_up_tokenization_spaces=False
        )
        return text

    def _marked(self, ids: Sequence[int]) -> str:
        """The text of ids in which control tokens cannot be mistaken for their names."""
        pieces: list[str] = []
        with self._lock:
            for control, run in groupby(ids, lambda i: i in self._control_ids):
                if control:
                    tokens = self.tokenizer.convert_ids_to_tokens(list(run))
                    pieces += [self._output.marked(token) for token in tokens]
                else:
                    pieces.append(self._text_of(list(run)))
        return "".join(pieces)

    def _placed(self, messages: Sequence[Message]) -> Turns:
        """The turns as the template takes them: system text in a user turn where it gets lost."""
        turns = messages_as_data(messages)
        if self.template is None:
            return turns
        key = tuple((t["role"], bool(t["content"].strip())) for t in turns)
        if key not in self._shapes:
            self._shapes[key] = self._shape(turns)
        shape = self._shapes[key]
        if shape.problem is not None:
            raise CallError(shape.problem)
        return fold_system(turns) if shape.folds else turns

    def _shape(self, turns: Turns) -> _Shape:
        """Whether all texts of such a conversation are written; a system text may be moved."""
        marked = [
            {**t, "content": mark(n) if t["content"].strip() else ""} for n, t in enumerate(turns)
        ]
        problem = self._lost(marked)
        if problem is None or all(t["role"] != "system" for t in turns):
            return _Shape(False, problem)
        return _Shape(True, self._lost(fold_system(marked), marked))

    def _lost(self, turns: Turns, texts: Turns | None = None) -> str | None:
        try:
            rendered = self._render(turns)
        except CallError as error:
            return str(error)
        lost = [t["role"] for t in texts or turns if t["content"] not in rendered]
        return f"the chat template leaves out what the {lost[0]} says" if lost else None

    def _render(self, turns: Turns) -> str:
        if self.template is None or self.facts is None:
            return transcript(turns)
        return render(self.tokenizer, self.template, turns, self._day, parts=self.facts.parts)

    def _filled(self, turns: Turns, more: Sequence[str]) -> _Filled:
        """Render with stand-ins for control tokens in the texts, so that they stay text."""
        nonce = secrets.token_hex(8)
        while any(nonce in text for text in (*(t["content"] for t in turns), *more)):
            nonce = secrets.token_hex(8)
        filled = _Filled(nonce, turns, self._control_pattern)
        safe = [{**t, "content": filled.safe(t["content"])} for t in turns]
        filled.prompt = self._render(safe)
        for turn in safe:
            if turn["content"].strip() not in filled.prompt:
                who = turn["role"]
                raise CallError(f"the chat template leaves out part of what the {who} says")
        return filled

    def _ids(self, text: str, filled: _Filled, *, continued: bool = False) -> list[int]:
        """Ids of a text in which stand-ins become the plain texts that they stand for.

        What holds none of them is tokenised in one piece, exactly as the template intends.
        """
        first, *pieces = filled.stand_in.split(text)
        if continued:
            ids = self._continued(first)
        else:
            ids = [*self._bos, *self.tokenizer.encode(first, add_special_tokens=False)]
        for number, after in zip(pieces[::2], pieces[1::2], strict=True):
            ids += self._as_text(filled.taken[int(number)])
            ids += self._continued(after)
        return ids

    def _after(self, prompt: list[int], text: str, filled: _Filled) -> list[int]:
        """Ids of the prompt and what follows; its letters must not join the prompt's last token."""
        whole = self._ids(filled.prompt + text, filled)
        if whole[: len(prompt)] == prompt:
            return whole
        return prompt + self._ids(text, filled, continued=True)

    def _checked(self, ids: list[int], filled: _Filled, answered: bool, end: str = "") -> list[int]:
        """The ids, if no text in them is read as a control token."""
        if self._control_count(ids) != self._structure(filled.turns, answered, end):
            raise CallError("the text of a message would be read as control tokens of the template")
        return ids

    def _lead(self, answer: str) -> str:
        if self.facts is not None:
            return self.facts.lead
        return " " if answer else ""

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

    def _structure(self, turns: Turns, answered: bool, end: str) -> Counter[int]:
        """How often each control token stands in such a conversation if its texts are harmless."""
        key = (*((t["role"], bool(t["content"].strip())) for t in turns), answered, end)
        if key not in self._counts:
            plain = [{**t, "content": "x" if t["content"].strip() else ""} for t in turns]
            filled = self._filled(plain, [])
            text = filled.prompt + (self._lead("x") + "x" + end if answered else "")
            self._counts[key] = self._control_count(self._ids(text, filled))
        return self._counts[key]

    def _transcript_bos(self) -> list[int]:
        bos = self.tokenizer.bos_token_id
        if self.template is not None or bos is None:
            return []
        return [bos] if self.tokenizer.encode("x")[:1] == [bos] else []
