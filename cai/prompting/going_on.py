"""A file of written prompts that is gone on with, and never written over."""

from __future__ import annotations

import json
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from itertools import islice
from pathlib import Path
from typing import Any

from cai.errors import CaiError
from cai.files import replacing
from cai.prompting.records import Written

_KEPT = "Nothing is written over: choose another --out, or move the file away."
_LOOKED_AT = 200  # lines of a file that is there, before all is written
Told = tuple[Any, Any, Any]  # id, prompt, messages


def write_lines(out: Path, lines: Callable[[], Iterator[str]]) -> int:
    """Write a file; lines that stand in it are the first ones of those, or it is left alone.

    Args:
        out: The file. It keeps what it has more of.
        lines: Gives the lines, each with its end; read twice.

    Returns:
        How many lines it has.

    Raises:
        CaiError: Other lines stand there.
    """
    out.parent.mkdir(parents=True, exist_ok=True)
    with _lines_there(out) as there:
        for number, (line, other) in enumerate(zip(lines(), there, strict=False), 1):
            if line != other:
                raise _other_lines(out, number)
    count = 0
    with _lines_there(out) as there, replacing(out) as file:
        for line in _and_more(lines(), there):
            file.write(line)
            count += 1
    return count


def first_there(out: Path) -> list[Told]:
    """What the first lines that stand in a file ask.

    Raises:
        CaiError: One of them is no line of written prompts.
    """
    found: list[Told] = []
    with _lines_there(out) as there:
        for number, line in enumerate(islice(there, _LOOKED_AT), 1):
            try:
                found.append(_told(json.loads(line)))
            except (ValueError, AttributeError):
                raise _other_lines(out, number) from None
    return found


def going_on(
    there: Sequence[Told], out: Path, line_of: Callable[[Written], Mapping[str, Any]]
) -> Callable[[Sequence[Written]], None]:
    """What says of prompts, before more of them are paid for, that other lines stand in the file.

    Args:
        there: What stands there.
        out: The file.
        line_of: The fields of a prompt's line.
    """
    left = deque(there)

    def seen(block: Sequence[Written]) -> None:
        for one in block if left else ():
            if left and left[0] == _told(line_of(one)):
                left.popleft()
            elif left and one.kind != "borderline":  # those may be left out as harmful
                raise _other_lines(out, len(there) - len(left) + 1)

    return seen


def _told(row: Mapping[str, Any]) -> Told:
    """Which line it is and what it asks, whatever it was found to be."""
    return row.get("id"), row.get("prompt"), row.get("messages")


def _other_lines(out: Path, number: int) -> CaiError:
    return CaiError(f"{out}:{number}: other lines stand in this file than would be written", _KEPT)


def _and_more(lines: Iterator[str], there: Iterator[str]) -> Iterator[str]:
    """The lines, and behind them those that there are more of."""
    for line in lines:
        next(there, None)
        yield line
    yield from there


@contextmanager
def _lines_there(path: Path) -> Iterator[Iterator[str]]:
    """The lines of a file, each with its end; none where there is no file."""
    if not path.is_file():
        yield iter(())
        return
    # Universal line ends would take others for ours.
    with path.open(encoding="utf-8", newline="\n") as file:
        try:
            yield (line if line.endswith("\n") else f"{line}\n" for line in file)
        except UnicodeDecodeError as error:
            raise CaiError(f"{path}: not UTF-8 text", _KEPT) from error
