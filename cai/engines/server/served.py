"""Who a server is: its identity, of what was found by asking it, now or before."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from datetime import date

from cai.engines.server.abilities import Abilities, Trial
from cai.engines.server.addresses import only_name
from cai.engines.server.contact import Contact
from cai.engines.server.meeting import GENERAL
from cai.errors import CaiError
from cai.records import ChoiceMethod


class Served(Contact):
    """A served model whose identity says what it is fed.

    Args:
        urls: As in `Contact`.
        name: As in `Contact`.
        timeout: As in `Contact`.
        concurrency: As in `Contact`.
        day: The date for a chat template that writes one.
    """

    def __init__(
        self,
        urls: Sequence[str],
        name: str | None,
        timeout: float,
        concurrency: int | None,
        day: date | None,
    ) -> None:
        super().__init__(urls, name, timeout, concurrency)
        self.trial: Trial = GENERAL
        self.day = day
        self.asked = bool(urls)
        self._able: Abilities | None = None
        self._stored: Mapping[str, Abilities] = {}
        self.unasked = False

    @property
    def able(self) -> Abilities:
        """What is known of the server: found, or found before, or nothing yet."""
        return self.known or Abilities()

    @property
    def known(self) -> Abilities | None:
        return self._able or self._stored.get(self.name or "")

    @property
    def method(self) -> ChoiceMethod:
        """How labels are scored."""
        return self.able.method

    @property
    def unmet(self) -> bool:
        """Whether the server has to be asked before its identity is known."""
        if not self.asked or self.unasked:
            return False
        return self.known is None or (bool(self.trial.questions) and not self.known.labelled)

    def recall(self, stored: Mapping[str, Abilities]) -> None:
        """Take what was found before, by name of a model."""
        self._stored = stored

    def as_before(self) -> None:
        """Go by version 0.1.0's identity: all its calls are there, and the server is not asked."""
        self.unasked = True

    @property
    def identity(self) -> str:
        """The served name, asked of the server where none was given, and what it is fed."""
        if self.name is None:
            with ThreadPoolExecutor(1) as thread:  # a loop may be running in ours
                future = thread.submit(asyncio.run, only_name(self.urls))
            try:
                self.name = future.result()
            except CaiError:
                if len(self._stored) != 1:
                    raise
                self.name = next(iter(self._stored))
        more = self.known.differences(self.day) if self.known is not None else {}
        return " ".join([self.first_identity, *(f"{k}={v}" for k, v in sorted(more.items()))])

    @property
    def first_identity(self) -> str:
        """The identity of version 0.1.0."""
        return f"server:{self.name}"

    def known_identity(self) -> str | None:
        if self.name is None and len(self._stored) == 1:
            self.name = next(iter(self._stored))
        return None if self.name is None else self.identity

    def feeding(self) -> dict[str, str]:
        if self.known is None:
            return {"server": "not asked yet what it takes"} if self.asked else {}
        return self.known.words(self.day)

    def warnings(self) -> list[str]:
        """What was found that a user has to know."""
        warnings = self.known.warnings() if self.known is not None else []
        return [f"{self.name}: {warning}" for warning in warnings]
