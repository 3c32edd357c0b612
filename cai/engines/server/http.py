"""One aiohttp session to the replicas of a server: what goes wrong becomes one of our errors."""

from __future__ import annotations

import asyncio
import json
import os
import re
import time
from collections import OrderedDict
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from email.utils import parsedate_to_datetime
from typing import Any
from urllib.parse import urlsplit

import aiohttp

from cai.engines.server.refusals import alike, message_of, short
from cai.errors import CaiError, CallError, EngineBusy, NoAnswer

CONNECT = 10.0  # seconds until a connection must stand
LARGEST = 32 << 20  # bytes of an answer; more is none that we asked for
HOMES = 1 << 16  # rows whose replica is remembered
SHORTEST_KEY = 12  # characters; fewer are a placeholder (`EMPTY`), or a word
PATIENCE = 30.0  # seconds that a server may ask us to wait before a run
REST, LONGEST_REST = 1.0, 60.0  # seconds that a replica which does not answer is left alone
OVERLOADED = frozenset({429, 503, 529})
KEY_HINT = (
    "Set the server's key in the environment: CAI_API_KEY, or CAI_API_KEY_<HOST> with every dot, "
    "colon and dash of the host as _."
)
ADDRESS_HINT = "Check the address (it mostly ends in /v1) and the model's name."


@dataclass
class Replica:
    """One server of several that serve the same model."""

    url: str
    running: int = 0
    rest: float = 0.0
    rests_until: float = 0.0
    known: bool = False  # whether it has said that it serves the model since it last failed

    @property
    def root(self) -> str:
        """The address beside `/v1`, where vLLM has what is not of the OpenAI protocol."""
        return self.url.removesuffix("/v1")

    def failed(self) -> None:
        self.known = False
        self.rest = min(LONGEST_REST, self.rest * 2 or REST)
        self.rests_until = time.monotonic() + self.rest

    def answered(self) -> None:
        self.rest = self.rests_until = 0.0


def key_for(url: str) -> str | None:
    """The key for a host, of `CAI_API_KEY_<HOST>`, `CAI_API_KEY` or OpenAI's own.

    Raises:
        CaiError: It holds what no header can carry.
    """
    host = (urlsplit(url).hostname or "").lower()
    of_host = "CAI_API_KEY_" + re.sub(r"\W", "_", host).upper()
    names = [of_host, "CAI_API_KEY", *(["OPENAI_API_KEY"] if host == "api.openai.com" else [])]
    for name in names:
        key = os.environ.get(name, "").strip()
        if key and not (key.isascii() and key.isprintable()):
            raise CaiError(f"{name}: a line break or a character that no key has", "Set it anew.")
        if key:
            return key
    return None


class Replicas:
    """Servers of one model. The calls of a row stay on one, whose prefix cache then knows it.

    Args:
        urls: Base addresses, ending in `/v1`.
        timeout: Seconds until a call is given up and sent again.
        meet: Asked of a replica before its first call, and before the first after a failure: it
            may have come back with another model.
    """

    def __init__(
        self,
        urls: Sequence[str],
        timeout: float,
        meet: Callable[[Replica], Awaitable[object]] | None = None,
    ) -> None:
        self._meet = meet
        self.all = [Replica(url) for url in urls]
        self.done = 0
        self._timeout = timeout
        self._session: aiohttp.ClientSession | None = None
        self._homes: OrderedDict[str | None, Replica] = OrderedDict()
        self._keys = {replica.url: key_for(replica.url) for replica in self.all}

    @property
    def running(self) -> int:
        return sum(replica.running for replica in self.all)

    def awake(self) -> list[Replica]:
        """Those that do not rest; where all do, the one that will be back first."""
        now = time.monotonic()
        awake = [replica for replica in self.all if replica.rests_until <= now]
        return awake or [min(self.all, key=lambda replica: replica.rests_until)]

    def any(self) -> Replica:
        """One to ask what all would answer alike."""
        return min(self.awake(), key=lambda replica: not replica.known)

    def open(self) -> None:
        if self._session is None:
            self._session = aiohttp.ClientSession(
                connector=aiohttp.TCPConnector(limit=0),
                cookie_jar=aiohttp.DummyCookieJar(),
                timeout=aiohttp.ClientTimeout(total=self._timeout, sock_connect=CONNECT),
            )

    async def close(self) -> None:
        session, self._session = self._session, None
        if session is not None:
            await session.close()

    async def post(self, path: str, body: dict[str, Any], row: str | None = None) -> dict[str, Any]:
        """Send a call to the row's replica and return the JSON object that it answers.

        Raises:
            CallError: The server refuses this call (4xx).
            EngineBusy: Another try may succeed: 429, 5xx, a timeout, a dropped connection, an
                answer that is no JSON object.
            CaiError: The key is wrong (401), or the address (3xx).
        """
        replica = self._replica(row)
        replica.running += 1
        try:
            if not replica.known and self._meet is not None:
                await self._meet(replica)
                replica.known = True
            answer = await self.ask(replica, "POST", replica.url + path, body)
        except EngineBusy as busy:
            if not busy.overloaded:
                replica.failed()
            raise
        finally:
            replica.running -= 1
        replica.answered()
        self.done += 1
        return answer

    def _replica(self, row: str | None) -> Replica:
        if len(self.all) == 1:
            return self.all[0]
        awake = self.awake()
        home = self._homes.get(row) if row is not None else None
        if home is None or home not in awake:
            home = min(awake, key=lambda replica: (replica.running, replica.rest))
            self._homes[row] = home
        self._homes.move_to_end(row)
        while len(self._homes) > HOMES:
            self._homes.popitem(last=False)
        return home

    async def ask(
        self, replica: Replica, method: str, url: str, body: dict[str, Any] | None = None
    ) -> dict[str, Any]:
        """One request, as in `post`, to an address of a replica."""
        status, headers, text = await self.raw(replica, method, url, body)
        if status == 200:
            try:
                answer = json.loads(text)
            except (ValueError, RecursionError):
                raise EngineBusy(f"{url}: no JSON: {short(text)}", overloaded=False) from None
            if isinstance(answer, dict):
                return answer
            raise EngineBusy(f"{url}: no JSON object: {short(text)}", overloaded=False)
        raise _refusal(status, headers, text, url)

    async def raw(
        self, replica: Replica, method: str, url: str, body: dict[str, Any] | None = None
    ) -> tuple[int, Any, str]:
        """Status, headers and text of an answer; a key that the server repeats is taken out."""
        if self._session is None:
            raise CaiError(f"{url}: the engine is not running", "Call `start` first.")
        key = self._keys[replica.url]
        headers = {"Authorization": f"Bearer {key}"} if key else {}
        try:
            async with self._session.request(
                method, url, json=body, headers=headers, allow_redirects=False
            ) as response:
                text = await _text(response, url)
                if key and (len(key) >= SHORTEST_KEY or response.status in (401, 403)):
                    text = text.replace(key, "[key]")
                return response.status, response.headers, text
        except TimeoutError:
            replica.failed()
            # More calls than it can answer in time would be sent again, and never be done.
            raise EngineBusy(f"{url}: no answer in time") from None
        except (aiohttp.ClientError, OSError) as error:
            what = str(error) or type(error).__name__
            raise EngineBusy(f"{url}: {what}", overloaded=False) from None


async def _text(response: aiohttp.ClientResponse, url: str) -> str:
    parts, size = [], 0
    async for part in response.content.iter_any():
        parts.append(part)
        size += len(part)
        if size > LARGEST:
            raise CallError(f"{url}: an answer of more than {LARGEST >> 20} MB")
    return b"".join(parts).decode("utf-8", errors="replace")


def _refusal(status: int, headers: Any, text: str, url: str) -> Exception:
    message = message_of(text)
    what = f"{url}: {status}: {message}"
    if status == 401:
        return CaiError(what, KEY_HINT)
    if status in OVERLOADED:
        return EngineBusy(what, retry_after(headers.get("Retry-After")))
    if status < 400:
        return CaiError(what, ADDRESS_HINT)
    if status < 500 and status not in (408, 409, 425):
        return CallError(
            f"the server refuses the call ({status}): {message}",
            status=status,
            alike=alike(status, text),
        )
    return EngineBusy(what, retry_after(headers.get("Retry-After")), overloaded=False)


def retry_after(value: str | None) -> float | None:
    """Seconds to wait, from seconds or a date (RFC 9110, section 10.2.3); at most ten minutes."""
    if value is None:
        return None
    try:
        seconds = float(value)
    except ValueError:
        try:
            seconds = parsedate_to_datetime(value).timestamp() - time.time()
        except (ValueError, OverflowError):
            return None
    return min(600.0, seconds) if seconds > 0 else None


async def steadily(call: Any, tries: int = 6) -> Any:
    """The result of a question asked before a run, repeated for some seconds if need be."""
    for attempt in range(tries):
        try:
            return await call()
        except EngineBusy as busy:
            if attempt == tries - 1:
                raise NoAnswer(
                    f"The server does not answer: {busy}", "Start it, or check the address."
                ) from None
            pause = min(PATIENCE, busy.retry_after or 0.0)
            await asyncio.sleep(max(pause, 0.25 * 2**attempt))
    raise AssertionError
