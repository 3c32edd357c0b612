"""What a model wrote, split into reasoning and answer by the markers that its template writes."""

from __future__ import annotations

import re
import secrets
from collections.abc import Collection

from cai.engines.local.chat_template import TemplateFacts
from cai.engines.reasoning import split_reasoning


class Output:
    """Splits outputs of one model.

    In a marked text each control token stands in brackets with a random number, so that an answer
    which names a marker is not taken for the marker.

    Args:
        facts: What the model's template writes; None without a template.
        control: Matches the names of the tokenizer's control tokens.
        kept: Those that are text where they stand in an answer.
    """

    def __init__(
        self, facts: TemplateFacts | None, control: re.Pattern[str], kept: Collection[str]
    ) -> None:
        self._kept = kept
        self._nonce = secrets.token_hex(8)
        self._bracketed = re.compile(rf"\[{self._nonce}:(.*?):{self._nonce}\]", re.DOTALL)

        def core(text: str) -> str:
            return control.sub(lambda match: self.marked(match[0]), text.strip())

        self._facts = facts
        self._opening = core(facts.opening) if facts else ""
        self._closing = core(facts.closing) if facts else ""
        lead = facts.lead if facts and not facts.opens else ""
        self._space = lead if lead.isspace() else ""
        # A lead that is part of what closes the reasoning tells an answer from anything else.
        self._channel = core(lead) if lead.strip() and core(lead) in self._closing else ""

    def marked(self, token: str) -> str:
        return f"[{self._nonce}:{token}:{self._nonce}]"

    def split(self, marked: str, plain: str) -> tuple[str, str | None]:
        """The answer and the reasoning.

        Args:
            marked: The output as a marked text.
            plain: The same as text without special tokens, for an output without markers.
        """
        opens = self._facts is not None and self._facts.opens
        body = marked.lstrip()
        begun = bool(self._opening) and body.startswith(self._opening)
        if begun or opens:
            inside, closed, answer = body.partition(self._closing)
            inside = inside.removeprefix(self._opening) if begun else inside
            if not closed:
                return "", self._plain(inside) or None
            return self._plain(answer), self._plain(inside) or None
        if self._channel:
            before, there, answer = body.partition(self._channel)
            if not there:
                return "", self._plain(before) or None
            return self._plain(answer), self._plain(before) or None
        return split_reasoning(plain.removeprefix(self._space), opened=False)

    def _plain(self, marked: str) -> str:
        text = self._bracketed.sub(lambda m: m[1] if m[1] in self._kept else "", marked)
        return text.strip()
