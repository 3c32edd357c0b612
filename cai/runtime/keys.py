"""What a call is known by: its key, and the seed of its draw."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence

from cai.records import Message, canonical_json, messages_as_data

KEY_VERSION = 1


def call_seed(
    run_seed: int, prompt_id: str, role: str, step: int, ordinal: int, attempt: int
) -> int:
    """31 bits of SHA-256 of the call's address: two samples differ, a re-run does not."""
    address = json.dumps([run_seed, prompt_id, role, step, ordinal, attempt])
    return int.from_bytes(hashlib.sha256(address.encode()).digest()[:4], "big") >> 1


def call_key(identity: str, operation: str, messages: Sequence[Message], how: object) -> bytes:
    """SHA-256 over all that a result depends on: who, what, the messages as sent, and how."""
    parts = [KEY_VERSION, identity, operation, messages_as_data(messages), how]
    return hashlib.sha256(canonical_json(parts)).digest()
