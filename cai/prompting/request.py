"""What is to be written: for which constitution, how many, where, in whose manner."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from cai.config import Settings, settings_of
from cai.constitution.language import languages
from cai.constitution.load import load as load_constitution
from cai.constitution.records import Constitution, Principle
from cai.errors import CaiError
from cai.evaluate.suites.read import ALL, read_suites
from cai.files import find_constitution
from cai.prompts import read_prompts
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
        avoid: Texts that no prompt may be near to: of the shipped suites, of other people's prompts
            and of files to avoid.
        principles: Those of the constitution that prompts are written for.
    """

    settings: Settings
    constitution: Constitution
    count: int
    out: Path
    domain: str | None
    language: str | None
    manner: tuple[str, ...]
    avoid: tuple[str, ...]
    principles: tuple[Principle, ...]

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
    principles: Sequence[str] = (),
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
        principles: The ids of those to write for; all, if none is named.
        **given: Single settings.

    Raises:
        CaiError: No such constitution, principle, language or file; a row of a file that is no
            prompt.
    """
    asked = settings_of(settings, given)
    if language is not None and language not in languages():
        known = ", ".join(languages())
        raise CaiError(f"--language {language}: no such code", f"Known: {known}.")
    if not str(out).endswith(".jsonl"):
        raise CaiError(f"{out}: not a .jsonl file", "Let the name of the file end in .jsonl.")
    if Path(out).is_dir():
        raise CaiError(f"{out}: a folder, not a file", "Choose another --out.")
    constitution = load_constitution(find_constitution(asked.constitution))
    suites = [i.prompt for suite in read_suites(ALL) for i in suite.items]
    examples = texts_of(manner) if manner else []
    avoided = [text for name in avoid for text in texts_of(name)]
    return Request(
        settings=asked,
        constitution=constitution,
        count=count,
        out=Path(out),
        domain=domain,
        language=language,
        manner=tuple(examples),
        avoid=(*map(said, suites), *examples, *avoided),
        principles=_named(constitution, principles),
    )


def _named(constitution: Constitution, names: Sequence[str]) -> tuple[Principle, ...]:
    """The principles of these ids, or all, in the order of the constitution."""
    known = [p.id for p in constitution.principles]
    for name in names:
        if name not in known:
            message = f"--principle {name}: {constitution.name} has no such principle"
            raise CaiError(message, f"It has: {', '.join(known)}.")
    return tuple(p for p in constitution.principles if not names or p.id in names)


def texts_of(source: str) -> list[str]:
    """What users say in the prompts of a source.

    Raises:
        CaiError: A row is no prompt: what it says would be left out in silence.
    """
    return [said(prompt) for prompt in read_prompts(source)]


def said(prompt: Prompt) -> str:
    """All that the user says in a prompt."""
    return "\n".join(m.content for m in prompt.messages if m.role == "user")
