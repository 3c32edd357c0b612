"""Where a model is served, and under which name."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple
from urllib.parse import urlsplit

from cai.engines.server.http import CONNECT, Replica, Replicas
from cai.errors import CaiError, CallError, EngineBusy


class Address(NamedTuple):
    """Where a model is served: base addresses that end in `/v1`, and its name there if given."""

    urls: tuple[str, ...]
    name: str | None


def parse_address(text: str) -> Address:
    """`URL[,URL…][#name]`; raises `CaiError` for what is none or holds a secret."""
    urls, names = [], set()
    for part in text.split(","):
        split = urlsplit(part.strip())
        try:
            bad = split.scheme not in ("http", "https") or not split.hostname or split.port == 0
        except ValueError:
            bad = True
        if bad:
            raise CaiError(f"{part}: no address of a server", "Write http://host:8000/v1#name.")
        if split.username or split.password or split.query:
            raise CaiError(
                f"{split.scheme}://{split.hostname}: a key in an address would be written down",
                "Put it into the environment as CAI_API_KEY, and leave it out here.",
            )
        urls.append(f"{split.scheme}://{split.netloc}{split.path.rstrip('/') or '/v1'}")
        if split.fragment:
            names.add(split.fragment)
    if len(names) > 1:
        raise CaiError(
            f"{text}: replicas with several names: {', '.join(sorted(names))}",
            "Replicas serve one model; write its name once, at the end.",
        )
    return Address(tuple(dict.fromkeys(urls)), names.pop() if names else None)


async def cards_of(replicas: Replicas, replica: Replica) -> dict[str, dict[str, Any]]:
    """What a replica says of each model that it serves, by name."""
    listed = (await replicas.ask(replica, "GET", f"{replica.url}/models")).get("data")
    listed = listed if isinstance(listed, list) else []
    return {str(card["id"]): card for card in listed if isinstance(card, dict) and "id" in card}


async def only_name(urls: Sequence[str]) -> str:
    """The name of the one model that replicas have, of the first that tells.

    Raises:
        CaiError: None tells, or there is not just one model.
    """
    replicas = Replicas(urls, CONNECT)
    replicas.open()
    try:
        for replica in replicas.all:
            try:
                served = sorted(await cards_of(replicas, replica))
                break
            except (EngineBusy, CallError) as error:
                problem = f"{replica.url}/models: the server does not say what it serves ({error})"
        else:
            raise CaiError(problem, "Start it, check the address, or name the model: URL#name.")
    finally:
        await replicas.close()
    if len(served) != 1:
        raise CaiError(
            f"{replica.url}: serves {len(served)} models",
            f"Name one: URL#name. {', '.join(served[:10])}",
        )
    return served[0]
