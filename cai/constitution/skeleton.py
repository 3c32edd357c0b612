"""A constitution to start from."""

from __future__ import annotations

import re
from pathlib import Path

from cai.errors import CaiError

_NAME = re.compile(r"[A-Za-z0-9][\w.-]*")


def skeleton(name: str) -> str:
    """The text of a constitution of this name, with comments that say what each part does.

    Raises:
        CaiError: The name does not serve as one of a file.
    """
    if not _NAME.fullmatch(name):
        raise CaiError(f"{name!r}: no name", "Letters, digits, `-` and `_`: my-shop, for example.")
    text = (Path(__file__).parent / "skeleton.yaml").read_text(encoding="utf-8")
    return text.replace("NAME", name)
