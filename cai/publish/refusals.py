"""What the Hub answers when it does not do what it is asked, in words; and waiting for it."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, TypeVar

from cai.errors import CaiError

T = TypeVar("T")
LONGEST = 300.0  # seconds that are waited because the Hub asks for it; longer is told
_PAUSES = (1.0, 4.0)  # seconds before the second and the third try
_LOGIN = "Sign in with `hf auth login`, or set HF_TOKEN to a token that may write."
_WORDS = {
    401: ("the Hub does not know the token", _LOGIN),
    403: (
        "the token may not write there",
        "Give it the right to write (for an organisation: ask its owner), or choose another name.",
    ),
    404: ("there is no such repository, or the token may not see it", _LOGIN),
    409: (
        "the Hub is busy with another change of this repository, or the name is taken",
        "Wait a minute and run the same command again.",
    ),
    413: (
        "a file is too large for the Hub, or the account has no room left",
        "Send less: fewer --include, or a run in shards; or ask for more storage.",
    ),
}


def connection_error() -> type[Exception]:
    """What every error of the Hub's client is: an answer that is a refusal, or no answer."""
    from huggingface_hub.errors import HTTPError  # type: ignore[attr-defined]  # of its client

    kind: type[Exception] = HTTPError
    return kind


def status_of(error: BaseException | None) -> int | None:
    """The HTTP status behind an error, also one that uploads wrapped in another."""
    failure = _http(error)
    response = getattr(failure, "response", None)
    return None if response is None else int(response.status_code)


def _http(error: BaseException | None) -> BaseException | None:
    http_error = connection_error()
    while error is not None and not isinstance(error, http_error):
        error = error.__cause__
    return error


def pause_of(error: BaseException) -> float | None:
    """Seconds that the Hub asks to wait, if it does (`Retry-After`, or its own header)."""
    response: Any = getattr(_http(error), "response", None)
    if response is None:
        return None
    asked = str(response.headers.get("Retry-After", ""))
    if asked.isdigit():
        return float(asked)
    from huggingface_hub.utils._http import parse_ratelimit_headers

    limits = parse_ratelimit_headers(response.headers)
    return float(limits.reset_in_seconds) if limits and not limits.remaining else None


def refusal(repo: str, error: BaseException) -> CaiError:
    """An error of the Hub in words; nothing in it is a token."""
    from huggingface_hub.errors import GatedRepoError

    status, pause = status_of(error), pause_of(error)
    if isinstance(error, GatedRepoError):
        return CaiError(
            f"{repo}: 403: the repository is gated, and this account has no access",
            f"Ask for access at https://huggingface.co/{repo}, or choose another name.",
        )
    if status == 429:
        wait = f" in {pause:,.0f} s" if pause else " in a few minutes"
        return CaiError(
            f"{repo}: 429: the Hub takes no more requests for now", f"Run it again{wait}."
        )
    if status in _WORDS:
        words, hint = _WORDS[status]
        return CaiError(f"{repo}: {status}: {words}{_said(error)}", hint)
    if status is not None:
        return CaiError(f"{repo}: the Hub answers {status}{_said(error)}", "Try again later.")
    failure = _http(error)
    words = "the connection to the Hub broke" if failure else "sending failed"
    return CaiError(
        f"{repo}: {words} ({_first_line(failure or _root(error))})",
        "Nothing is lost: run the same command again. What was uploaded is not sent twice.",
    )


def _root(error: BaseException) -> BaseException:
    while error.__cause__ is not None:
        error = error.__cause__
    return error


def _said(error: BaseException) -> str:
    message = str(getattr(_http(error), "server_message", None) or "").strip()
    return f" ({message.splitlines()[0][:300]})" if message else ""


def _first_line(error: BaseException) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0][:200]


@contextmanager
def refusals(repo: str) -> Iterator[None]:
    """Errors of the Hub and of the way to it become a `CaiError`."""
    from huggingface_hub.errors import HFValidationError, OfflineModeIsEnabled

    http_error = connection_error()

    try:
        yield
    except OfflineModeIsEnabled:
        raise CaiError(f"{repo}: HF_HUB_OFFLINE is set", "Unset it to push.") from None
    except HFValidationError as error:
        raise CaiError(f"{repo}: {_first_line(error)}", "Write owner/name.") from error
    except (http_error, OSError, RuntimeError) as error:
        raise refusal(repo, error) from error
    except ValueError as error:  # the Hub's check of the card's header
        raise CaiError(f"{repo}: {error}", "Change it and run the same command again.") from error


def patiently(call: Callable[[], T], tell: Callable[[str], None]) -> T:
    """Make a call that may be made again: where the connection breaks or the Hub is busy."""
    http_error = connection_error()
    for pause in _PAUSES:
        try:
            return call()
        except (http_error, OSError, RuntimeError) as error:
            wait_out(error, pause, tell)
    return call()


def wait_out(error: BaseException, pause: float, tell: Callable[[str], None]) -> None:
    """Wait, or raise what waiting does not mend."""
    from huggingface_hub.errors import OfflineModeIsEnabled

    status = status_of(error)
    if isinstance(error, OfflineModeIsEnabled) or (status is None and _http(error) is None):
        raise error
    if status is not None and status != 429 and status < 500:
        raise error
    seconds = pause_of(error) or pause
    if seconds > LONGEST:
        raise error
    tell(f"The Hub is busy or out of reach: waiting {seconds:,.0f} s.")
    time.sleep(seconds)
