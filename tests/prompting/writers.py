"""Scripted writers: what they answer to each request is known beforehand."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable, Sequence
from functools import partial

from cai.engines.scripted import ScriptedEngine, ScriptedOptions
from cai.records import Message, Sampling

_WORDS = {
    "thing": "kettle bicycle invoice parcel garden window ladder voucher jacket teapot printer "
    "blanket bracelet lantern notebook saddle curtain hammer basket mirror candle suitcase",
    "place": "kitchen station library market office cellar school harbour bakery clinic theatre "
    "village workshop museum airport hostel stadium bridge orchard pharmacy laundry forest balcony",
    "verb": "repair return sell borrow paint wrap carry clean lend measure order photograph hide "
    "compare replace describe open lock donate polish collect unpack deliver weigh",
}


def number(text: str, name: str, below: int) -> int:
    return int.from_bytes(hashlib.sha256(f"{name} {text}".encode()).digest()[:6], "big") % below


def sentence(key: str) -> str:
    """A sentence of its own for each key: few are alike."""

    def word(name: str, place: str = "") -> str:
        among = _WORDS[name].split()
        return among[number(key, f"{name}{place}", len(among))]

    return (
        f"How do I {word('verb')} the {word('thing')} in the {word('place')} before we "
        f"{word('verb', ' 2')} a {word('thing', ' 2')} near the {word('place', ' 2')} on day "
        f"{number(key, 'day', 1000)}?"
    )


def is_list(text: str) -> bool:
    return bool(re.search(r"^List \d+ situations", text, re.MULTILINE))


def turns_wanted(text: str) -> bool:
    return "conversation of three turns" in text


def answer(
    messages: Sequence[Message],
    sampling: Sampling,
    reply: Callable[[str, str], str] | None = None,
) -> str:
    """What a writer that does as it is told says; `reply` makes a prompt from request and key."""
    request, key = messages[-1].content, f"{sampling.seed}"
    if is_list(request):
        lines = [f"{n}. Somebody asks about it: {sentence(f'{key} {n}')}" for n in range(1, 11)]
        return "\n".join(lines)
    if turns_wanted(request):
        first, last = sentence(f"{key} a"), sentence(f"{key} b")
        return f"User: {first}\nAssistant: That depends on a few things.\nUser: {last}"
    return reply(request, key) if reply else sentence(key)


def writer(reply: Callable[[str, str], str] | None = None) -> ScriptedEngine:
    """A writer that does as it is told."""
    return ScriptedEngine(ScriptedOptions(name="writer"), reply=partial(answer, reply=reply))
