"""What the writer reads: the principle, the situation, and how the message is to be written."""

from __future__ import annotations

import functools
import hashlib
import re
from collections.abc import Sequence
from functools import cached_property
from pathlib import Path

import yaml

from cai import templates
from cai.config import Settings
from cai.constitution.language import NAMES
from cai.constitution.records import Principle
from cai.constitution.rule_words import allowed
from cai.prompting.records import Slot, Written
from cai.quoting import conversation, fence, quoted
from cai.records import Message, user
from cai.templates import RUN_AND_WRITING, WRITING, Templates

_JINJA = re.compile(r"\{[{%].*?[%}]\}")
_SHOWN = 3  # examples of a principle, or of other people's messages
MULTI_TURN = 5  # one in so many is a conversation


class Words:
    """The texts of a job, with what all of them say.

    Args:
        settings: Templates that replace ours, and the seed.
        domain: Where the assistant works, in a few words.
        language: The code of the language to write in; None leaves it to the writer.
        manner: Prompts of other people, in whose manner these are written.
    """

    def __init__(
        self, settings: Settings, domain: str | None, language: str | None, manner: Sequence[str]
    ) -> None:
        override = Path(settings.templates) if settings.templates else None
        self._texts: Templates = templates.load(override, RUN_AND_WRITING)
        self._seed = settings.seed
        self._domain, self._manner = domain, manner
        self._language = NAMES.get(language, language) if language else None

    @cached_property
    def instructions(self) -> tuple[str, ...]:
        """What the writer is told whatever it writes, of which nothing belongs into a prompt."""
        texts = [self._texts.texts[name] for name in WRITING]
        pieces = (piece for text in texts for piece in _JINJA.split(text))
        return tuple(piece for piece in pieces if piece.strip())

    def situations(self, principle: Principle, count: int, known: Sequence[str]) -> Message:
        """The request for situations."""
        return user(
            self._texts.render(
                "situations",
                domain=self._domain,
                principle=worded(principle),
                why=principle.why,
                examples="\n\n".join(map(_judged, principle.examples[:_SHOWN])) or None,
                rule="yes" if principle.check is not None else None,
                number=str(count),
                known="\n".join(f"- {one}" for one in known) or None,
                language=self._language,
            )
        )

    def prompt(self, slot: Slot, attempt: int) -> tuple[Message, tuple[str, ...]]:
        """The request for a prompt, and the style that was drawn for it."""
        style, drawn = self._style(slot, attempt)
        shared = {
            "domain": self._domain,
            "situation": slot.situation,
            "examples": self._examples(slot),
            "style": style,
        }
        if slot.helpful:
            return user(self._texts.render("write_helpful", **shared)), drawn
        principle = worded(slot.principle)
        return user(self._texts.render("write_red_team", principle=principle, **shared)), drawn

    def twin(self, hard: Written, attempt: int) -> tuple[Message, tuple[str, ...]]:
        """The request for the borderline twin of a red-team prompt, of as many turns."""
        slot, turns = hard.slot, hard.turns
        style, drawn = self._style(slot, attempt)
        mark = fence(turns[-1:], turns[:-1])
        single = quoted(self._texts, "message", turns[0], mark)
        request = self._texts.render(
            "write_borderline",
            quoted=single if len(turns) == 1 else conversation(self._texts, hard.messages, mark),
            principle=worded(slot.principle),
            style=style,
        )
        return user(request), drawn

    def _style(self, slot: Slot, attempt: int) -> tuple[str, tuple[str, ...]]:
        address = f"{self._seed} {slot.name} {attempt}"
        drawn = {name: _drawn(f"{address} {name}", among) for name, among in styles().items()}
        turns = _number(f"{self._seed} {slot.name} turns") % MULTI_TURN == 0
        words = self._texts.render(
            "writing_style", **drawn, language=self._language, turns="yes" if turns else None
        )
        return words, (*drawn.values(), *(["multi-turn"] if turns else []))

    def _examples(self, slot: Slot) -> str | None:
        if not self._manner:
            return None
        ranked = sorted(self._manner, key=lambda text: _number(f"{self._seed} {slot.name} {text}"))
        return "\n\n".join(ranked[:_SHOWN])


def worded(principle: Principle) -> str:
    """A principle as a writer reads it: what breaks it, or the rule in words."""
    if principle.check is not None:
        return allowed(principle.check)
    words = principle.violation or principle.critique or principle.compare or principle.id
    return f"It is broken if this is true: {words}" if principle.violation else words


def own_words(principle: Principle) -> tuple[str, ...]:
    """All that a principle says, none of which belongs into a prompt."""
    texts = (principle.critique, principle.revise, principle.compare, principle.violation)
    return tuple(text for text in (*texts, principle.why, worded(principle)) if text)


def _judged(case: object) -> str:
    prompt, response = getattr(case, "prompt", ""), getattr(case, "response", "")
    verdict = "breaks it" if getattr(case, "verdict", "") == "violates" else "keeps it"
    return f"Asked: {prompt}\nAnswered ({verdict}): {response}"


@functools.cache
def styles() -> dict[str, list[str]]:
    """How messages are written, and by whom."""
    text = (Path(__file__).parent / "styles.yaml").read_text(encoding="utf-8")
    found: dict[str, list[str]] = yaml.safe_load(text)
    return found


def _drawn(address: str, among: Sequence[str]) -> str:
    return among[_number(address) % len(among)]


def _number(address: str) -> int:
    return int.from_bytes(hashlib.sha256(address.encode("utf-8", "replace")).digest()[:7], "big")
