"""Text of others in Markdown."""

from __future__ import annotations

import html
import re


def plain(value: str) -> str:
    """Text that Markdown and HTML show as it is, on one line."""
    escaped = html.escape(" ".join(value.split()), quote=False)
    return re.sub(r"([\\`*_{}\[\]()#!|~])", r"\\\1", escaped)
