"""What is to be written: for which constitution, how many, where, in whose manner."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from cai.config import Settings, settings_of
from cai.constitution.language import languages
from cai.constitution.load import load as load_constitution
from cai.constitution.records import Constitution
from cai.errors import CaiError
from cai.evaluate.suites.read import ALL, read_suites
from cai.files import find_constitution
from cai.prompts import Intake
from cai.records import Prompt

CALLS = ".calls"  # the folder of the calls is the file's name and this


@dataclass(frozen=True)
class Request:
    """What is to be written.

    Attributes:
        settings: The writer and how it draws; the constitution.
        constitution: Whose principles.
        count: Prompts in the file.
        out: The file.
        domain: Where the assistant works.
        language: Of the prompts, ISO 639.
        manner: Prompts of other people.
        avoid: Texts that no prompt may be near to, with the shipped suites.
    """

    settings: Settings
    constitution: Constitution
    count: int
    out: Path
    domain: str | None
    language: str | None
    manner: tuple[str, ...]
    avoid: tuple[str, ...]

    @property
    def calls(self) -> Path:
        return self.out.with_name(f"{self.out.name}{CALLS}")


def request_of(
    settings: Settings | Mapping[str, Any] | None,
    *,
    count: int,
    out: str | Path,
    domain: str | None = None,
    language: str | None = None,
    manner: str | None = None,
    avoid: Sequence[str] = (),
    **given: Any,
) -> Request:
    """What is to be written, checked.

    Args:
        settings: `Settings` or their values.
        count: Prompts in the file.
        out: The file, `.jsonl`.
        domain: Where the assistant works, in a few words.
        language: ISO 639.
        manner: A source of prompts, in whose manner these are written.
        avoid: Sources of prompts that none may be near to.
        **given: Single settings.

    Raises:
        CaiError: No such constitution, language or file.
    """
    asked = settings_of(settings, given)
    if language is not None and language not in languages():
        known = ", ".join(languages())
        raise CaiError(f"--language {language}: no such code", f"Known: {known}.")
    if not str(out).endswith(".jsonl"):
        raise CaiError(f"{out}: not a .jsonl file", "Let the name of the file end in .jsonl.")
    suites = [i.prompt for suite in read_suites(ALL) for i in suite.items]
    return Request(
        settings=asked,
        constitution=load_constitution(find_constitution(asked.constitution)),
        count=count,
        out=Path(out),
        domain=domain,
        language=language,
        manner=tuple(texts_of(manner)) if manner else (),
        avoid=(*(said(p) for p in suites), *(text for name in avoid for text in texts_of(name))),
    )


def texts_of(source: str) -> list[str]:
    """What users say in the prompts of a source."""
    return [said(prompt) for prompt in Intake(source) if isinstance(prompt, Prompt)]


def said(prompt: Prompt) -> str:
    """All that the user says in a prompt."""
    return "\n".join(m.content for m in prompt.messages if m.role == "user")
