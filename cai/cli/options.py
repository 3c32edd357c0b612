"""Options of a command, made from the fields of its settings."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable, Collection, Iterator
from pathlib import Path
from typing import Annotated, Any, Literal, get_args, get_origin

import typer
from pydantic import BaseModel
from pydantic.fields import FieldInfo

from cai.settings import Panel, comma_list, option_name, parse_value, value_type

Config = Annotated[
    Path | None,
    typer.Option(
        metavar="FILE", help="YAML file of settings; the file that a run saves repeats it."
    ),
]
TokenPrice = Annotated[
    str | None,
    typer.Option("--price", metavar="PRICE", help="`IN,OUT` per million tokens, for --dry-run."),
]
Set = Annotated[
    list[str] | None,
    typer.Option(
        "--set",
        metavar="KEY=VALUE",
        help="A setting by its name, as in a file: `test_share=0.1`; may be repeated.",
    ),
]
Json = Annotated[bool, typer.Option("--json", help="Print JSON.")]
RetryFailed = Annotated[
    bool, typer.Option("--retry-failed", help="Ask again where a model could not answer.")
]
# Settings of every command that asks models.
SERVED = (
    *("dtype", "device", "batch_size", "base_url", "request_timeout", "tensor_parallel"),
    *("replicas", "vllm_args", "concurrency", "date", "top_p", "seed", "max_open_rows"),
)
RUN: Panel = "This run"


def with_settings(
    settings: type[BaseModel],
    *,
    only: Collection[str] = (),
    without: Collection[str] = (),
) -> Callable[[Callable[..., None]], Callable[..., None]]:
    """Give a command an option for each setting; its first parameter takes what was given.

    Args:
        settings: The fields that become options: name, type, help, default and panel.
        only: These fields alone; without them, all.
        without: Fields that become no option.
    """
    names = [n for n in settings.model_fields if (not only or n in only) and n not in without]

    def decorate(command: Callable[..., None]) -> Callable[..., None]:
        _, *own = inspect.signature(command, eval_str=True).parameters.values()

        @functools.wraps(command)
        def with_options(**values: Any) -> None:
            chosen = {name: values.pop(name) for name in names}
            given = {
                name: _parsed(settings, name, value)
                for name, value in chosen.items()
                if value is not None
            }
            command(given, **values)

        parameters = [*_options(settings, names), *map(_in_a_panel, own)]
        with_options.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
        with_options.__annotations__ = {}
        return with_options

    return decorate


def file_of(rows: str, shipped: str) -> Any:
    """An option that takes a file of labelled rows, where some are shipped."""
    return typer.Option(
        metavar="FILE", help=f"{rows}. [default: {shipped}]", rich_help_panel="Input"
    )


def drawn(noun: str) -> Any:
    """An option that takes some of the rows."""
    words = f"Take N {noun}, drawn by a hash of their ids. [default: all]"
    return typer.Option(metavar="N", min=1, help=words, rich_help_panel="Input")


def folder_of(words: str, default: str) -> Any:
    """An option that takes the folder of what comes out."""
    return typer.Option(
        metavar="FOLDER", help=f"{words} [default: {default}]", rich_help_panel="Output"
    )


def argument(settings: type[BaseModel], name: str, metavar: str) -> Any:
    """An argument that stands for a setting, with its words."""
    words = _sentence(settings.model_fields[name].description or "")
    return typer.Argument(metavar=metavar, help=words, show_default=False)


def _options(settings: type[BaseModel], names: Collection[str]) -> Iterator[inspect.Parameter]:
    panels = get_args(Panel)
    fields = {name: settings.model_fields[name] for name in names}
    for name, field in sorted(fields.items(), key=lambda item: panels.index(_panel(item[1]))):
        kind = _option_type(field)
        flag = option_name(name)
        option = typer.Option(
            f"{flag}/--no-{flag[2:]}" if kind is bool else flag,
            metavar=None if kind is bool else _metavar(field),
            help=f"{_sentence(field.description or '')} [default: {_default(field)}]",
            rich_help_panel=_panel(field),
            show_default=False,
        )
        yield _parameter(name, None, Annotated[kind | None, option])


def _in_a_panel(parameter: inspect.Parameter) -> inspect.Parameter:
    """What a command has beside its settings is about this run, where it does not say more."""
    for info in getattr(parameter.annotation, "__metadata__", ()):
        if isinstance(info, typer.models.OptionInfo) and info.rich_help_panel is None:
            info.rich_help_panel = RUN
    return _parameter(parameter.name, parameter.default, parameter.annotation)


def _parameter(name: str, default: Any, annotation: Any) -> inspect.Parameter:
    kind = inspect.Parameter.KEYWORD_ONLY
    return inspect.Parameter(name, kind, default=default, annotation=annotation)


def _extra(field: FieldInfo) -> dict[str, Any]:
    extra = field.json_schema_extra
    return extra if isinstance(extra, dict) else {}


def _panel(field: FieldInfo) -> str:
    return str(_extra(field)["panel"])


def _nullable(field: FieldInfo) -> bool:
    """Whether null is a choice, and not the default."""
    null = value_type(field.annotation) is not field.annotation
    return null and field.default is not None and field.default_factory is None


def _option_type(field: FieldInfo) -> Any:
    """What the parser makes of a text; what it leaves as text is checked by the settings."""
    kind = value_type(field.annotation)
    if get_origin(kind) is tuple and _extra(field)["repeatable"]:
        return list[str]
    return kind if kind in (bool, int, float) and not _nullable(field) else str


def _parsed(settings: type[BaseModel], name: str, value: Any) -> Any:
    field = settings.model_fields[name]
    if isinstance(value, str) and get_origin(value_type(field.annotation)) is tuple:
        return comma_list(value)
    return parse_value(settings, name, value) if _nullable(field) else value


def _metavar(field: FieldInfo) -> str:
    kind = value_type(field.annotation)
    if _extra(field)["metavar"]:
        return str(_extra(field)["metavar"])
    if get_origin(kind) is Literal:
        return "|".join(map(str, get_args(kind)))
    if get_origin(kind) is tuple:
        return "LIST"
    return {"int": "N", "float": "NUMBER", "date": "DATE"}.get(kind.__name__, "TEXT")


def _default(field: FieldInfo) -> str:
    value = field.default
    if _extra(field)["shown"]:
        return str(_extra(field)["shown"])
    if value in (None, "", ()):
        return "none"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, tuple):
        return ",".join(value)
    return f"{value:g}" if isinstance(value, float) else str(value)


def _sentence(text: str) -> str:
    return f"{text[:1].upper()}{text[1:]}."
