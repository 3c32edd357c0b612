"""What a run costs: by tokens, or by the hour of the machine."""

from __future__ import annotations

from typing import NamedTuple

from cai.errors import CaiError


class Price(NamedTuple):
    """Money per token read, per token written and per second, in the user's currency."""

    text: str
    per_input: float = 0.0
    per_output: float = 0.0
    per_second: float = 0.0

    @classmethod
    def parse(cls, text: str) -> Price:
        """`IN,OUT` per million tokens, or `N/h`; raises `CaiError` for anything else."""
        hourly = text.strip().endswith("/h")
        parts = text.strip().removesuffix("/h").split(",")
        try:
            numbers = [float(part) for part in parts]
        except ValueError:
            numbers = []
        if len(numbers) != (1 if hourly else 2) or not all(0 <= n < 1e9 for n in numbers):
            raise CaiError(
                f"--price {text}: no price",
                "Write IN,OUT per million tokens (0.15,0.60), or the machine's hour (2.50/h).",
            )
        if hourly:
            return cls(text, per_second=numbers[0] / 3600)
        return cls(text, numbers[0] / 1e6, numbers[1] / 1e6)

    @classmethod
    def of_tokens(cls, text: str) -> Price:
        """`IN,OUT` per million tokens: for what is known in tokens and not in hours.

        Raises:
            CaiError: It is anything else.
        """
        price = cls.parse(text)
        if price.per_second:
            message = f"--price {text}: how long it takes is not known beforehand"
            raise CaiError(message, "Write IN,OUT per million tokens (0.15,0.60).")
        return price

    def of(self, read: int, written: int, seconds: float) -> float:
        return self.per_input * read + self.per_output * written + self.per_second * seconds
