"""A deterministic stand-in for a language model: tests, dry runs, load tests."""

from __future__ import annotations

import asyncio
import hashlib
import json
import math
import os
import re
from collections.abc import Callable, Sequence
from pathlib import Path

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from cai.engines.base import NOBODY, Caller, Capacity, joined
from cai.errors import CaiError, CallError, EngineBusy
from cai.records import (
    ChoiceScores,
    Completion,
    Message,
    Sampling,
    Usage,
    canonical_json,
    messages_as_data,
)

_VOCABULARY = """
a about after again all also any ask back before between both bring calm care change clear could
day do each even every fair few find first for friend from give good have help here how idea if in
into it keep kind know last learn leave less let like little long look make many matter may mean
more most need never new next no note now of often on one only open or other over own part people
place plain plan point put question read reason right safe same say see short show since small so
some speak start step still such sure take talk tell than that then there think time to together
true try turn under until up use very want way well what when where which while who why with word
work write year yes yet you
"""
_WORDS = tuple(_VOCABULARY.split())


class ScriptedOptions(BaseModel):
    """Options of `scripted:option=value,…`; those of the second group leave the identity alone."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    words: int = Field(40, ge=1, description="mean length of a text")
    change: float = Field(0.5, ge=0, le=1, description="share of verdicts that ask for a change")
    reject: float = Field(0.0, ge=0, le=1, description="share of texts that are defective")
    fail: float = Field(0.0, ge=0, le=1, description="share of calls that can't succeed")
    name: str = Field("scripted", description="served model name")

    slots: int = Field(64, ge=1, description="calls held at once")
    latency: float = Field(0.0, ge=0, description="mean seconds per call, lognormal")
    busy: float = Field(0.0, ge=0, lt=1, description="share of calls turned away at first")
    log: str | None = Field(None, description="file that gets a line per call answered")


_NOT_IDENTITY = {"slots", "latency", "busy", "log"}


class ScriptedEngine:
    """Texts and scores from hashes of the input; same input, same output.

    Args:
        reply: Writes the text instead, from the messages; for tests.
        score: Gives the labels' probabilities instead, from the last message and the texts of the
            options in the order in which they stand; for tests.
    """

    one_suffix_a_call = reads_control_tokens = False

    def __init__(
        self,
        options: ScriptedOptions | None = None,
        reply: Callable[[Sequence[Message], Sampling], str] | None = None,
        score: Callable[[str, list[str]], Sequence[float]] | None = None,
    ) -> None:
        self.options = options or ScriptedOptions()
        self.identity = "scripted:" + json.dumps(
            self.options.model_dump(exclude=_NOT_IDENTITY), sort_keys=True
        )
        self._reply = reply
        self._score = score
        self._turned_away: set[int] = set()
        self._log: int | None = None

    @classmethod
    def parse(cls, text: str) -> ScriptedEngine:
        """From `option=value,…`; raises `CaiError` for an unknown option or a wrong value."""
        pairs = dict(part.partition("=")[::2] for part in text.split(",") if part)
        try:
            return cls(ScriptedOptions.model_validate(pairs))
        except ValidationError as error:
            first = error.errors()[0]
            names = ", ".join(ScriptedOptions.model_fields)
            raise CaiError(
                f"scripted:{text}: {first['loc'][0]}: {first['msg']}", f"Options: {names}."
            ) from None

    def known_identity(self) -> str:
        return self.identity

    def feeding(self) -> dict[str, str]:
        return {}

    async def start(self) -> None:
        if self.options.log is not None and self._log is None:
            self._log = os.open(Path(self.options.log), os.O_WRONLY | os.O_CREAT | os.O_APPEND)

    def check_labels(self, choices: Sequence[str], answer_prefix: str) -> None:
        """Any label will do."""

    async def capacity(self) -> Capacity:
        return Capacity(self.options.slots)

    async def close(self) -> None:
        if self._log is not None:
            os.close(self._log)
            self._log = None

    async def generate(
        self, messages: Sequence[Message], sampling: Sampling, caller: Caller = NOBODY
    ) -> Completion:
        call = canonical_json([messages_as_data(messages), sampling.model_dump()])
        dice = _Dice(call)
        await self._serve(dice, [call])
        length = 1 + dice.integer("length", 2 * self.options.words - 1)
        text = self._reply(messages, sampling) if self._reply else dice.words(length)
        finish = "stop"
        if dice.share("reject") < self.options.reject:
            defect = dice.integer("defect", 3)
            text = ("", text, "go on " * 60)[defect]
            finish = "length" if defect == 1 else "stop"
        usage = Usage(input_tokens=len(call) // 4, output_tokens=len(text.split()))
        return Completion(
            text=text,
            finish_reason="length" if finish == "length" else "stop",
            usage=usage,
            model=self.options.name,
        )

    async def choose(
        self,
        prefix: Sequence[Message],
        suffixes: Sequence[str],
        choices: Sequence[str],
        answer_prefix: str = "",
        caller: Caller = NOBODY,
    ) -> list[ChoiceScores]:
        calls = [
            canonical_json([messages_as_data(joined(prefix, s)), list(choices), answer_prefix])
            for s in suffixes
        ]
        await self._serve(_Dice(calls[0]), calls)
        return [self._scores(joined(prefix, s), choices) for s in suffixes]

    def _scores(self, messages: Sequence[Message], choices: Sequence[str]) -> ChoiceScores:
        """Mass 0.9 on the labels, 0.8 of it on the right one, wherever that stands.

        The right one depends on what was read before the options and on their texts, not on order.
        """
        text = messages[-1].content
        options = [_option(text, label) for label in choices]
        if self._score is not None:
            probabilities = self._score(text, options)
        else:
            ranked = sorted(range(len(choices)), key=lambda i: options[i])
            shared = [messages_as_data(messages[:-1]), sorted(options)]
            first_meant = _Dice(canonical_json(shared)).share("change") < self.options.change
            right = ranked[-1] if first_meant else ranked[0]
            wrong = 0.2 / max(1, len(choices) - 1)
            probabilities = [0.9 * (0.8 if i == right else wrong) for i in range(len(choices))]
        return ChoiceScores(
            logprobs=tuple(math.log(p) if p else -math.inf for p in probabilities),
            usage=Usage(input_tokens=len(text) // 4, output_tokens=1),
            model=self.options.name,
        )

    async def _serve(self, dice: _Dice, calls: Sequence[bytes]) -> None:
        options = self.options
        if (
            options.busy
            and dice.share("busy") < options.busy
            and dice.number not in self._turned_away
        ):
            self._turned_away.add(dice.number)
            raise EngineBusy("scripted: busy", retry_after=0.01)
        if options.latency:
            await asyncio.sleep(options.latency * dice.lognormal("latency"))
        if self._log is not None:
            lines = "".join(hashlib.sha256(text).hexdigest() + "\n" for text in calls)
            os.write(self._log, lines.encode())
        if dice.share("fail") < options.fail:
            raise CallError("scripted: this call can't succeed")


def _option(text: str, label: str) -> str:
    """The words that stand at `(label)`: those quoted below it, or the rest of its line.

    A quotation begins with a line `[who mark]` and ends at `[end mark]`, whatever it says inside.
    """
    words, mark, quoted, before = label, "", list[str](), ""
    for line in text.split("\n"):
        if mark and line == f"[end {mark}]":
            words = "\n".join(quoted) if before == f"({label})" else words
            mark, before = "", ""
        elif mark:
            quoted.append(line)
        elif opening := re.fullmatch(r"\[\w+ (\w+)\]", line):
            mark, quoted = opening[1], []
        else:
            before = line
            words = line.removeprefix(f"({label}) ") if line.startswith(f"({label}) ") else words
    return words


class _Dice:
    """Numbers that depend on a text and a name, drawn in any order."""

    def __init__(self, text: bytes) -> None:
        self._digest = hashlib.sha256(text).digest()
        self.number = int.from_bytes(self._digest[:8], "big")

    def integer(self, name: str, below: int) -> int:
        return int(self.share(name) * below)

    def share(self, name: str) -> float:
        drawn = hashlib.sha256(self._digest + name.encode()).digest()
        return int.from_bytes(drawn[:7], "big") / 2**56

    def lognormal(self, name: str, sigma: float = 0.8) -> float:
        """Mean 1 (Box-Muller)."""
        u, v = 1 - self.share(name), self.share(name + "'")
        z = math.sqrt(-2 * math.log(u)) * math.cos(2 * math.pi * v)
        return math.exp(sigma * z - sigma * sigma / 2)

    def words(self, count: int) -> str:
        stream = hashlib.shake_256(self._digest).digest(count)
        return " ".join(_WORDS[byte % len(_WORDS)] for byte in stream).capitalize() + "."
