"""What goes wrong, and what comes of it.

- A bad row is data, not a crash: it becomes a `Failure` with its reason, and the others go on. A
  share of them above `max_bad_rows` in the input ends the reading, with the first ten.
- A bad call (`CallError`: too long, refused, NaN) fails its row and is journalled, so that running
  again does not repeat it; `--retry-failed` does. Twenty in a row that are refused alike end a run.
- A bad moment (`EngineBusy`: 429, 503, a dropped connection) is waited out: the call is sent again.
- A bad server (`NoAnswer`, a wrong key, another model) ends the run. Nothing is lost: the same
  command goes on from the last committed call.
- A bad file or setting (`InputError`) ends it before anything is made, with file, line and field.
- Data that does not keep a threshold (`GateFailed`) is told, and stops only who asks for it
  (`--gate fail`, exit code 3).
- All else is a bug and keeps its traceback.
"""

from __future__ import annotations


class CaiError(Exception):
    """An error with what went wrong and what to do; the command line prints both and exits 1.

    Anything that is not a `CaiError` is a bug and keeps its traceback.
    """

    code = 1

    def __init__(self, message: str, hint: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint

    def __str__(self) -> str:
        return f"{self.message}\n{self.hint}" if self.hint else self.message


class InputError(CaiError):
    """Bad input in a file: where (file, line, field), what is wrong, what to write instead."""

    def __init__(self, where: str, message: str, hint: str = "") -> None:
        super().__init__(f"{where}: {message}", hint)
        self.where = where


class GateFailed(CaiError):
    """Data or a model does not keep a threshold that was asked to stop what comes after."""

    code = 3


class NoAnswer(CaiError):
    """Nobody answers at an address."""


class CallError(Exception):
    """One model call cannot succeed and would not if sent again: the row fails, the run goes on.

    Args:
        message: What the engine said.
        status: The HTTP status, of a server.
        alike: What refusals have in common that say nothing of the single call; many of them in
            a row stop the run. Empty where it is the call itself, as with one that is too long.
    """

    def __init__(self, message: str = "", *, status: int | None = None, alike: str = "") -> None:
        super().__init__(message)
        self.status = status
        self.alike = alike


class EngineBusy(Exception):
    """The engine cannot take this call now (429, 503, a dropped connection); send it again later.

    Args:
        message: What the engine said.
        retry_after: Seconds the engine asks to wait, if it said so.
        overloaded: Fewer calls at once would help; False for a fault (500, a broken answer).
    """

    def __init__(
        self, message: str, retry_after: float | None = None, *, overloaded: bool = True
    ) -> None:
        super().__init__(message)
        self.retry_after = retry_after
        self.overloaded = overloaded
