"""Rows that cannot be used: why each is none, and how many of them stop the reading.

A bad row is data, not a crash: the reader passes over it, counts it and says where it stands. Too
many of them are another matter: then the file is not what the reader takes it for.
"""

from __future__ import annotations

from typing import Literal, get_args

from cai.errors import InputError

MAX_BAD_ROWS = 0.05  # share of the rows; more says that the file is another one than was thought
SHOWN = 10  # of the bad rows are named in an error or a warning
_HOPELESS = 1000  # rows, all bad: the rest need not be read

# The row is not what its file or its columns promise.
Malformed = Literal[
    "broken line",
    "no column",
    "wrong type",
    "unknown role",
    "unreadable text",
    "bad field",
    "lost column",
    "no answers between",
]
# Or it is well formed, and there is nothing in it that could be used.
Fault = Literal[
    Malformed,
    "tool call",
    "not text",
    "null content",
    "empty turn",
    "doubled turn",
    "no user turn",
    "empty prompt",
    "lone surrogate",
    "empty answer",
    "same answers",
    "other prompt",
    "no preference",
]


class RowError(InputError):
    """A row that cannot be used; the rows around it are none the worse for it."""

    def __init__(self, where: str, fault: Fault, message: str, hint: str = "") -> None:
        super().__init__(where, message, hint or "Mend the row or take it out.")
        self.fault: Fault = fault

    @property
    def malformed(self) -> bool:
        """Whether the row is wrong in itself, and not only of no use here."""
        return self.fault in get_args(Malformed)

    def inside(self, row: str) -> str:
        """What is wrong, with the field but without the row, whose place is told beside it."""
        return self.message.removeprefix(f"{row}: ")


class BadRows:
    """Counts rows and the bad ones among them, and keeps the first of these."""

    def __init__(self) -> None:
        self.rows = 0
        self.first: list[RowError] = []
        self.faults: dict[Fault, int] = {}

    @property
    def bad(self) -> int:
        return sum(self.faults.values())

    def add(self, error: RowError) -> None:
        """Count a bad row; all `rows`, this one among them, are counted by the caller.

        Raises:
            InputError: So far there was no other row, in a thousand.
        """
        self.faults[error.fault] = self.faults.get(error.fault, 0) + 1
        if len(self.first) < SHOWN:
            self.first.append(error)
        if self.rows == self.bad == _HOPELESS:
            raise self._error("reading stopped here")

    def check(self, most: float, remedy: str = "") -> None:
        """Raise where the share of bad rows is above `most`.

        Args:
            most: The share that may be bad.
            remedy: What else can be done than to mend the rows.

        Raises:
            InputError: The first ten bad rows with their places, how many there are, what to do.
        """
        if self.bad > most * self.rows:
            raise self._error(f"at most {100 * most:g}% may be", remedy)

    def summary(self) -> str:
        """How many rows are bad, and why."""
        faults = sorted(self.faults.items(), key=lambda item: (-item[1], item[0]))
        reasons = ", ".join(f"{n:,} {fault}" for fault, n in faults)
        return f"{self.bad:,} of {self.rows:,} rows cannot be used: {reasons}"

    def lines(self) -> list[str]:
        """The first bad rows: where each is and what is wrong."""
        lines, before = [], ""
        for error in self.first:
            what = error.message.removeprefix(f"{error.where}: ")
            lines.append(f"{error.where}: {'the same' if what == before else what}")
            before = what
        return lines + ([f"… and {self.bad - SHOWN:,} more"] if self.bad > SHOWN else [])

    def _error(self, why: str, remedy: str = "") -> InputError:
        first, *rest = self.lines()
        hints = dict.fromkeys(error.hint for error in self.first)
        remedy = remedy if self.bad < self.rows else ""  # it would leave nothing
        share = f"{self.summary()} ({self.bad / self.rows:.1%}; {why})"
        message = "\n".join([first.removeprefix(f"{self.first[0].where}: "), *rest, share])
        return InputError(self.first[0].where, message, "\n".join(filter(None, [*hints, remedy])))
