"""What the rows of a run were made by, as its journal holds it."""

from __future__ import annotations

from cai import templates
from cai.config import stored_settings
from cai.constitution.records import Constitution
from cai.engines import labels
from cai.method import Method
from cai.records import CriticFacts, JudgeFacts
from cai.runtime.calls import Calls
from cai.runtime.journal import Journal


def last_method(journal: Journal, *, published: bool = False) -> tuple[Method, Calls]:
    """The method and calls that the journal was last used for, or last wrote datasets by."""
    written = journal.meta("published") if published else None
    fact = written.get if written is not None else journal.meta
    settings = stored_settings(fact("settings"))
    method = Method(
        Constitution.model_validate(fact("constitution")),
        templates.Templates(fact("templates")),
        settings,
        JudgeFacts.model_validate(fact("judge") or {}),
        CriticFacts.model_validate(fact("critic") or {}),
        frozenset(fact("dropped") or ()),
    )
    picks = labels.from_meta(journal.meta("labels"))
    return method, Calls(journal, settings.seed, fact("identities"), labels=picks)
