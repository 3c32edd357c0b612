"""What a run did: its calls and tokens, counted."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field


@dataclass
class Tally:
    """What a run did: calls by source, tokens by role (of calls made; in a replay, of all)."""

    made: int = 0
    reused: int = 0
    input_tokens: Counter[str] = field(default_factory=Counter)
    output_tokens: Counter[str] = field(default_factory=Counter)
    cached_tokens: Counter[str] = field(default_factory=Counter)

    def add(self, other: Tally) -> None:
        """Count calls that were made elsewhere."""
        self.made += other.made
        self.input_tokens.update(other.input_tokens)
        self.output_tokens.update(other.output_tokens)
        self.cached_tokens.update(other.cached_tokens)
