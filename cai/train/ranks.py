"""The processes of one training: the first prepares and saves, the others wait for its word.

They wait without a barrier of the process group, which would give up after half an hour, and
preparing the data or merging a model may take longer: before the training, the first tells the
others through the launcher's store where the data lies; after it, nobody waits.
"""

from __future__ import annotations

import atexit
import json
import os
import sys
import time
from datetime import timedelta
from typing import Any

_KEY = "cai train"
_LOOK_EVERY = 0.2  # seconds


def rank() -> int:
    """The number of this process among those that a launcher started; 0 without one."""
    return int(os.environ.get("RANK", "0"))


def processes() -> int:
    """How many processes a launcher started; 1 without one."""
    return int(os.environ.get("WORLD_SIZE", "1"))


def is_launched() -> bool:
    """Whether a launcher (torchrun, accelerate launch) started this process."""
    return "RANK" in os.environ


def is_main() -> bool:
    """Whether this is the first of the processes that a launcher started, or the only one."""
    return rank() == 0


def is_sharded() -> bool:
    """Whether accelerate's launcher asked for FSDP."""
    return os.environ.get("ACCELERATE_USE_FSDP", "false").lower() == "true"


def leave(code: int) -> None:
    """End this process now: what was to be done at its end is done, and nothing is torn down."""
    atexit._run_exitfuncs()
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)


class Word:
    """What the first process tells all others once; keep it while they may still ask."""

    def __init__(self) -> None:
        self._store = _store() if processes() > 1 else None

    def give(self, word: dict[str, Any]) -> None:
        """Tell the others; only the first process calls this."""
        if self._store is not None:
            self._store.set(_KEY, json.dumps(word))

    def wait(self) -> dict[str, Any]:
        """What the first process told, as soon as it has; the launcher ends us if it dies."""
        store: Any = self._store
        while not store.check([_KEY]):
            time.sleep(_LOOK_EVERY)
        word: dict[str, Any] = json.loads(store.get(_KEY))
        return word


def _store() -> Any:
    """The launcher's key-value store; where it has none, the first process is the server."""
    from torch.distributed import PrefixStore, TCPStore  # type: ignore[attr-defined]

    from_launcher = os.environ.get("TORCHELASTIC_USE_AGENT_STORE") == "True"
    store = TCPStore(
        os.environ["MASTER_ADDR"],
        int(os.environ["MASTER_PORT"]),
        is_master=is_main() and not from_launcher,
        wait_for_workers=False,
        multi_tenant=True,  # the process group asks for one at the same address
        timeout=timedelta(minutes=5),
    )
    # A launcher that starts all processes again keeps its store, and the old word in it.
    return PrefixStore(os.environ.get("TORCHELASTIC_RESTART_COUNT", "0"), store)
