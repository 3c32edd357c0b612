"""Rows as token ids: the prompt as it is generated from, the answers with their end token."""

from __future__ import annotations

from array import array
from collections import Counter
from typing import NamedTuple

from cai.engines.local.chat import Chat
from cai.errors import CallError
from cai.train.data.examples import Example


class Encoded(NamedTuple):
    """Token ids of a row; only those of the answers are learnt. 4 bytes a token."""

    prompt: array[int]
    answers: tuple[array[int], ...]

    @property
    def length(self) -> int:
        """Tokens of the prompt with its answer, of two the longer."""
        return len(self.prompt) + max(map(len, self.answers))

    def cut(self, length: int) -> Encoded:
        """The row with the ends of its answers cut off, so that no end is taught there."""
        room = length - len(self.prompt)
        return Encoded(self.prompt, tuple(answer[:room] for answer in self.answers))


class Encoder:
    """Turns examples into ids, each as its model's chat has it.

    Args:
        chat: The model's chat; what generation feeds is what is trained on.
        end: The token that ends an answer.
    """

    def __init__(self, chat: Chat, end: str) -> None:
        self._chat, self._end = chat, end
        self.refusals: Counter[str] = Counter()  # why rows cannot be encoded
        self.moved = 0  # system texts that went into a user turn

    def encode(self, example: Example) -> Encoded | None:
        """The ids of an example; None, and a refusal counted, where that is not possible."""
        try:
            learnt = self._chat.learnt(example.prompt, example.answers, self._end)
        except CallError as error:
            self.refusals[str(error)] += 1
            return None
        self.moved += self._chat.moves_system(example.prompt)
        # Two answers may begin with letters that join the prompt's last token in one of them only.
        start = min(row.start for row in learnt)
        answers = tuple(array("i", row.ids[start:]) for row in learnt)
        return Encoded(array("i", learnt[0].ids[:start]), answers)
