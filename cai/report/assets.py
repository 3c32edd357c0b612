"""The page's own files: its style, its scripts, its template, and what a browser may run of it."""

from __future__ import annotations

import base64
import hashlib
from functools import cache
from pathlib import Path

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup

from cai.report.words import shown

_FOLDER = Path(__file__).parent / "files"
# In the order in which they need each other.
_SCRIPTS = (
    *("data.js", "text.js", "diff.js", "chain.js", "evaluation.js", "notes.js", "list.js"),
    "main.js",
)


@cache
def style() -> str:
    return (_FOLDER / "style.css").read_text(encoding="utf-8")


@cache
def script() -> str:
    """All scripts as one, in a scope of its own."""
    parts = [(_FOLDER / name).read_text(encoding="utf-8") for name in _SCRIPTS]
    return "(() => {\n'use strict';\n" + "\n".join(parts) + "\n})();\n"


def policy() -> str:
    """What a browser may do with the page: our style, our script, and nothing from a network."""
    return (
        f"default-src 'none'; style-src '{_hash(style())}'; script-src '{_hash(script())}'; "
        "base-uri 'none'; form-action 'none'"
    )


def _hash(text: str) -> str:
    return "sha256-" + base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()


@cache
def environment() -> Environment:
    """Templates in which every value is escaped, and its control characters are shown."""
    made = Environment(
        loader=FileSystemLoader(_FOLDER),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        finalize=lambda value: value if isinstance(value, Markup) else _shown(value),
    )
    made.globals.update(style=Markup(style()), script=Markup(script()), policy=policy())
    return made


def _shown(value: object) -> object:
    return shown(value) if isinstance(value, str) else value
