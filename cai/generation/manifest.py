"""What a run was made of and what came of it, as manifest.json holds it."""

from __future__ import annotations

import platform
from collections import Counter
from collections.abc import Mapping
from importlib.metadata import PackageNotFoundError, version
from typing import Any, NamedTuple

from cai.dataset.schema import SPLITS, Manifest
from cai.engines import labels
from cai.method import Method
from cai.runtime.calls import Calls
from cai.runtime.price import Price
from cai.runtime.tally import Tally

_PACKAGES = ("constitutional-ai", "torch", "transformers", "datasets", "pyarrow", "numpy")


def package_versions() -> dict[str, str]:
    versions = {"python": platform.python_version()}
    for name in _PACKAGES:
        try:
            versions[name] = version(name)
        except PackageNotFoundError:
            continue
    return versions


class Spent(NamedTuple):
    """When a run was started first, and the seconds that it took.

    Attributes:
        started: UTC, ISO 8601.
        now: Seconds of generation in this session.
        whole: In all sessions.
        writing: Seconds in which the datasets were written.
    """

    started: str
    now: float
    whole: float
    writing: float


class Outcome(NamedTuple):
    """What came of a run.

    Attributes:
        source: Digest of the prompts, and how many were there twice.
        kinds: Prompts by kind.
        control_tokens: Prompts that hold what a server reads as a special token.
        counts: Rows of the datasets and reasons for those that are missing.
        made: The calls of this session.
        whole: The calls of all of the run, as its datasets were made of them.
    """

    source: Mapping[str, Any]
    kinds: Mapping[str, int]
    control_tokens: int
    counts: Counter[str]
    made: Tally
    whole: Tally


def manifest_of(
    method: Method,
    calls: Calls,
    names: Mapping[str, str],
    fed: Mapping[str, dict[str, str]],
    outcome: Outcome,
    spent: Spent,
    price: Price | None,
) -> Manifest:
    """The manifest: what the run was made of, what came of it, what it cost."""
    constitution = method.constitution
    return Manifest(
        constitution={"name": constitution.name, "digest": constitution.digest},
        templates=method.templates.digests,
        models=dict(calls.identities),
        names=dict(names),
        fed=dict(fed),
        labels={
            role: list(calls.labels.get(identity, labels.DEFAULT))
            for role, identity in calls.identities.items()
            if role in method.choosing_roles
        },
        judge=method.judge.model_dump() if method.sources else {},
        seed=method.settings.seed,
        packages=package_versions(),
        prompts={
            **outcome.source,
            "rows": sum(outcome.kinds.values()),
            "kinds": dict(outcome.kinds),
            "control_tokens": outcome.control_tokens,
        },
        counts=dict(sorted(outcome.counts.items())),
        calls={"made": outcome.made.made, "reused": outcome.made.reused},
        tokens=_tokens(outcome.whole),
        cost=_cost(outcome, spent, price),
        timings={
            "started": spent.started,
            "seconds": {"generate": round(spent.whole, 3), "write": round(spent.writing, 3)},
            "last": {
                "seconds": round(spent.now, 3),
                "tokens_written": sum(outcome.made.output_tokens.values()),
            },
        },
    )


def _tokens(whole: Tally) -> dict[str, dict[str, int]]:
    return {
        role: {
            "input": whole.input_tokens[role],
            "output": whole.output_tokens[role],
            **({"cached": n} if (n := whole.cached_tokens.get(role)) is not None else {}),
        }
        for role in sorted(whole.input_tokens)
    }


def _cost(outcome: Outcome, spent: Spent, price: Price | None) -> dict[str, Any]:
    """Of all sessions of the run; per row: per row of a dataset to train on."""
    if price is None:
        return {}
    read, written = outcome.whole.input_tokens.total(), outcome.whole.output_tokens.total()
    total = price.of(read, written, spent.whole)
    rows = sum(outcome.counts.get(f"{n}.{s}", 0) for n in ("sft", "preferences") for s in SPLITS)
    return {
        "price": price.text,
        "seconds": round(spent.whole, 3),
        "total": total,
        "per_row": total / rows if rows else None,
    }
