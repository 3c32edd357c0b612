"""Two constitutions compared."""

from __future__ import annotations

from collections.abc import Iterable

from cai.constitution.records import Constitution, Principle
from cai.records import Record


class EditedPrinciple(Record):
    id: str
    fields: tuple[str, ...]


class ConstitutionChange(Record):
    """`other` names what changed outside the principles: name, description, few_shot, conflicts."""

    added: tuple[str, ...] = ()
    removed: tuple[str, ...] = ()
    edited: tuple[EditedPrinciple, ...] = ()
    other: tuple[str, ...] = ()


def constitution_change(before: Constitution, after: Constitution) -> ConstitutionChange:
    old, new = ({p.id: p for p in c.principles} for c in (before, after))
    edited = [
        EditedPrinciple(id=name, fields=_differing(Principle.model_fields, old[name], new[name]))
        for name in new
        if name in old and old[name] != new[name]
    ]
    rest = [name for name in Constitution.model_fields if name != "principles"]
    return ConstitutionChange(
        added=tuple(name for name in new if name not in old),
        removed=tuple(name for name in old if name not in new),
        edited=tuple(edited),
        other=_differing(rest, before, after),
    )


def _differing(names: Iterable[str], one: Record, other: Record) -> tuple[str, ...]:
    return tuple(name for name in names if getattr(one, name) != getattr(other, name))
