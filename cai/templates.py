"""The words that models read: one jinja file per message; values go in as data."""

from __future__ import annotations

import difflib
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from jinja2 import StrictUndefined, Template, TemplateError, TemplateSyntaxError, meta
from jinja2.sandbox import ImmutableSandboxedEnvironment

from cai.errors import InputError
from cai.files import templates_dir
from cai.records import digest

# Template → the variables it may use. Those without a question mark it must use.
VARIABLES: dict[str, frozenset[str]] = {
    "critique": frozenset({"request", "why?"}),
    "verdict": frozenset({"first", "second", "first_label", "second_label"}),
    "change_needed": frozenset(),
    "no_change_needed": frozenset(),
    "revise": frozenset({"request", "why?"}),
    "revise_rules": frozenset({"findings", "request?"}),
    "guide": frozenset({"principles"}),
    "assess": frozenset({"conversation", "answer", "mark"}),
    "violation": frozenset(
        {"violation?", "request?", "why?", "first", "second", "first_label", "second_label"}
    ),
    "conflict": frozenset({"first", "second", "number"}),
    "broken": frozenset(),
    "kept": frozenset(),
    "quote": frozenset({"who", "text", "mark"}),
    "judge": frozenset({"conversation", "first", "second", "mark", "first_label", "second_label"}),
    "judge_question": frozenset({"question", "why?", "first_label?", "second_label?"}),
    "judge_reason": frozenset({"question", "why?", "first_label?", "second_label?"}),
    "judge_choose": frozenset({"first_label?", "second_label?"}),
}

# Those of an evaluation, which are no part of a run.
EVALUATION: dict[str, frozenset[str]] = {
    "more_helpful": frozenset(),
    "harm_refused": frozenset({"first", "second", "first_label", "second_label"}),
    "declined": frozenset(),
    "not_declined": frozenset(),
    "harm_convincing": frozenset(),
    "harm_specific": frozenset(),
}
# Those by which prompts are written.
WRITING: dict[str, frozenset[str]] = {
    "situations": frozenset(
        {"domain?", "principle", "why?", "examples?", "rule?", "number", "known?", "language?"}
    ),
    "write_red_team": frozenset({"domain?", "principle", "situation", "examples?", "style"}),
    "write_borderline": frozenset({"quoted", "principle", "style"}),
    "write_helpful": frozenset({"domain?", "situation", "examples?", "style"}),
    "writing_style": frozenset({"length", "mood", "register", "persona", "language?", "turns?"}),
}
# Those by which an assessor says what a prompt calls for.
COVERAGE: dict[str, frozenset[str]] = {
    "coverage": frozenset({"conversation", "mark"}),
    "coverage_question": frozenset(
        {"principle", "why?", "first", "second", "first_label", "second_label"}
    ),
    "called_for": frozenset(),
    "not_called_for": frozenset(),
}
RUN_AND_WRITING = ("quote", *WRITING)
_KNOWN = VARIABLES | EVALUATION | WRITING | COVERAGE

VERDICT_TEMPLATES = ("critique", "verdict", "change_needed", "no_change_needed")
ASSESSMENT_TEMPLATES = ("quote", "assess", "violation", "broken", "kept")
JUDGE_TEMPLATES = ("quote", "judge", "judge_question", "judge_reason", "judge_choose")

_environment = ImmutableSandboxedEnvironment(
    undefined=StrictUndefined, autoescape=False, keep_trailing_newline=False
)


@dataclass(frozen=True)
class Templates:
    """The texts of all templates by name; `render` fills one in."""

    texts: Mapping[str, str]

    @cached_property
    def _compiled(self) -> dict[str, Template]:
        return {name: _environment.from_string(text) for name, text in self.texts.items()}

    @property
    def digests(self) -> dict[str, str]:
        return {name: digest(text) for name, text in sorted(self.texts.items())}

    def render(self, name: str, **values: str | None) -> str:
        return self._compiled[name].render(values)

    def both_orders(
        self, name: str, options: tuple[str, str], labels: tuple[str, str], **values: str | None
    ) -> tuple[str, str]:
        """A question between two options, and the same with the options swapped.

        Args:
            name: The template; it has `first`, `second` and their labels.
            options: What is offered.
            labels: Of the first option and of the second, whatever these are.
            **values: What else the template has.
        """
        first_label, second_label = labels

        def ask(first: str, second: str) -> str:
            named = {"first_label": first_label, "second_label": second_label}
            return self.render(name, first=first, second=second, **named, **values)

        return ask(*options), ask(*options[::-1])


def load(override: Path | None = None, names: Collection[str] = VARIABLES) -> Templates:
    """The shipped templates, with those of the same name in `override` in their place.

    Args:
        override: A folder of templates, which may hold those of other jobs too.
        names: Which are loaded: those of a run, if nothing is said.

    Raises:
        InputError: An unknown name, a syntax error, a variable that is unknown or missing.
    """
    texts = {name: _read(templates_dir() / f"{name}.jinja") for name in names}
    if override is not None:
        texts |= {name: text for name, text in overrides(override).items() if name in names}
    templates = Templates(texts)
    for name in names:
        _try(templates, name, override)
    return templates


def _try(templates: Templates, name: str, override: Path | None) -> None:
    """Render once with every optional value and once without: what fails, fails here."""
    for optional in ("words", None):
        values = {v.rstrip("?"): optional if v.endswith("?") else "words" for v in _KNOWN[name]}
        try:
            templates.render(name, **values)
        except (TemplateError, TypeError, ValueError, ArithmeticError, LookupError) as error:
            where = str((override or templates_dir()) / f"{name}.jinja")
            raise InputError(where, f"cannot be filled in: {error}", "Mend it.") from None


def overrides(folder: Path) -> dict[str, str]:
    """The templates of a folder, by name."""
    if not folder.is_dir():
        raise InputError(
            str(folder), "no such folder", "--templates takes a folder of .jinja files."
        )
    paths = sorted(folder.glob("*.jinja"))
    names = ", ".join(f"{name}.jinja" for name in _KNOWN)
    if not paths:
        raise InputError(str(folder), "holds no template", f"Name the files: {names}.")
    for path in paths:
        if path.stem not in _KNOWN:
            near = difflib.get_close_matches(path.stem, _KNOWN, n=1)
            hint = f"Did you mean {near[0]}.jinja?" if near else f"Known: {names}."
            raise InputError(str(path), "no template of ours has this name", hint)
    return {path.stem: _read(path) for path in paths}


def _read(path: Path) -> str:
    allowed = {name.rstrip("?") for name in _KNOWN[path.stem]}
    required = {name for name in _KNOWN[path.stem] if not name.endswith("?")}
    try:
        text = path.read_text(encoding="utf-8").rstrip("\n")
        used = meta.find_undeclared_variables(_environment.parse(text))
    except OSError as error:
        raise InputError(str(path), error.strerror or str(error), "Check the file.") from None
    except UnicodeDecodeError:
        raise InputError(str(path), "not UTF-8 text", "Save the file as UTF-8.") from None
    except TemplateSyntaxError as error:
        hint = "The file is a jinja template; write {{ '{{' }} for a literal {{."
        raise InputError(f"{path}:{error.lineno}", str(error.message), hint) from None
    if used - allowed:
        names = ", ".join(sorted(allowed)) or "none"
        raise InputError(str(path), f"unknown variable {min(used - allowed)}", f"It has: {names}.")
    if required - used:
        hint = f"Write {{{{ {min(required - used)} }}}} where it belongs."
        raise InputError(str(path), f"does not use {min(required - used)}", hint)
    return text
