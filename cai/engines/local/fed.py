"""What a model in a folder is fed besides the texts, known without loading the model."""

from __future__ import annotations

from datetime import date
from pathlib import Path

from cai.engines.local.chat_template import TemplateFacts
from cai.engines.local.weights import tokenizer_digest
from cai.errors import CaiError
from cai.files import cache_dir, replacing

_VERSION = 2  # raise it when facts are read otherwise


def template_facts(folder: Path, name: str) -> TemplateFacts | None:
    """What the chat template of a model writes; None where the model has none.

    It is read once and remembered under the digest of the tokenizer's files: a finished run is read
    again without transformers.

    Raises:
        CaiError: The tokenizer cannot be loaded, or its template is not understood.
    """
    entry = cache_dir() / "templates" / f"{tokenizer_digest(folder)}-v{_VERSION}.json"
    if entry.is_file():
        text = entry.read_text("utf-8")
        return TemplateFacts.model_validate_json(text) if text else None
    facts = _read(folder, name)
    entry.parent.mkdir(parents=True, exist_ok=True)
    with replacing(entry, shared=True) as file:
        file.write(facts.model_dump_json() if facts else "")
    return facts


def _read(folder: Path, name: str) -> TemplateFacts | None:
    from cai.engines.local.chat_template import load_tokenizer, template_text
    from cai.engines.local.quiet import quiet_libraries
    from cai.engines.local.template_reader import read_template

    try:
        with quiet_libraries():
            tokenizer = load_tokenizer(folder)
    except (OSError, ValueError, KeyError, ImportError) as error:
        reason = (str(error).strip().splitlines() or [type(error).__name__])[0]
        raise CaiError(
            f"{name}: its tokenizer cannot be loaded: {reason}",
            "Give the folder of a model with its tokenizer, as transformers saves them.",
        ) from error
    template = template_text(tokenizer, name)
    if template is None:
        return None
    own = tokenizer.init_kwargs.get("chat_template")
    facts = read_template(tokenizer, template, name)
    return facts if own else facts.model_copy(update={"of_processor": True})


def fed_identity(weights: str, facts: TemplateFacts | None, day: date) -> str:
    """A model's identity: its weights, and what it is fed otherwise than by version 0.1.0.

    So the calls of a model that was fed rightly then are its calls still.
    """
    more = facts.differences(day) if facts is not None else {}
    return " ".join([weights, *(f"{name}={value}" for name, value in sorted(more.items()))])


def feeding(facts: TemplateFacts | None, day: date) -> dict[str, str]:
    """What a template adds to the texts, in words: the date, a system text of its own."""
    if facts is None:
        return {}
    own = {"system text of the template": facts.own_system} if facts.own_system else {}
    return {**({"date in the template": day.isoformat()} if facts.dated else {}), **own}


def undated(identity: str) -> str:
    """The identity on any day."""
    return " ".join(part for part in identity.split(" ") if not part.startswith("date="))


def of_texts(identity: str) -> str:
    """The identity that the texts of a server depend on: how labels are asked for plays no part."""
    if not identity.startswith("server:"):
        return identity
    return " ".join(p for p in identity.split(" ") if not p.startswith(_OF_LABELS))


def why_fed_otherwise(old: str, new: str) -> str | None:
    """In words, why one model has another identity than before; None if it is another model."""
    before, after = old.split(" "), new.split(" ")
    if before[0] != after[0] or old == new:
        return None
    changed = sorted({part.partition("=")[0] for part in set(before) ^ set(after)})
    words = [_WORDS[name] for name in changed if name in _WORDS]
    what = "served model" if new.startswith("server:") else "weights"
    return f"the same {what}, but {'; '.join(words)}" if words else None


_OF_LABELS = ("prefix=", "labels=")
_WORDS = {
    "api": "it is asked in chats, which it takes without arguments for its template",
    "thinking": "it is told in another way not to reason first",
    "prefix": "labels are asked for after the answer's first words in another way",
    "labels": "labels are read after its reasoning",
    "without": "the server refuses fields of a request, which are left out",
    "date": "its template writes the date, which is fixed for a run now",
    "lead": "labels are asked where its template lets an answer begin",
    "reasoning": "its reasoning is told from its answers by its template's own markers",
    "system": "system text that its template lost goes into the first user turn",
    "template": "its template, which lies beside its processor, is used",
    "texts": "texts go in as its template takes them",
}
