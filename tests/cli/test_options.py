"""Options are made from the fields of settings; what is given on the command line wins."""

from __future__ import annotations

import datetime
from pathlib import Path
from typing import Annotated, Any, Literal, get_args

import pytest
import typer
from pydantic import BaseModel
from typer.testing import CliRunner

import cai
from cai.cli import app, generate, load_verb, tables
from cai.cli.options import with_settings
from cai.config import Settings
from cai.errors import CaiError, InputError
from cai.settings import Panel, setting
from cai.train.config import TrainSettings
from cai.train.defaults import PAIR_KEYS

DOCS = Path(cai.__file__).parents[1] / "docs"


class Knobs(BaseModel):
    size: int = setting(3, "how many", "Input")
    share: float | None = setting(None, "how much", "Output", shown="all")
    mode: Literal["near", "far"] = setting("near", "where", "Method")
    loud: bool = setting(True, "whether it is heard", "Method")
    parts: tuple[str, ...] = setting(("a", "b"), "which", "Input")
    more: tuple[str, ...] = setting((), "what else", "Input", metavar="FILE", repeatable=True)
    rank: int | None = setting(16, "how high; `null` is not at all", "Method")
    day: datetime.date | None = setting(None, "when", "Method", shown="today")


def given_by(*arguments: str) -> dict[str, Any]:
    held: dict[str, Any] = {}

    @with_settings(Knobs)
    def command(
        given: dict[str, Any], name: Annotated[str, typer.Argument(metavar="NAME")]
    ) -> None:
        held.update(given, name=name)

    knobs = typer.Typer()
    knobs.command()(command)
    done = CliRunner().invoke(knobs, [*arguments, "x"])
    if done.exception is not None:
        raise done.exception
    assert held.pop("name") == "x"
    return held


@pytest.mark.parametrize(
    ("arguments", "given"),
    [
        ("", {}),
        ("--size 4 --share 0.5", {"size": 4, "share": 0.5}),
        ("--loud", {"loud": True}),
        ("--no-loud", {"loud": False}),
        ("--parts a,c", {"parts": ["a", "c"]}),
        ("--parts a, --mode far", {"parts": ["a"], "mode": "far"}),
        ("--more a,b --more c", {"more": ["a,b", "c"]}),
        ("--rank 8", {"rank": 8}),
        ("--rank null", {"rank": None}),
        ("--day 2026-03-07", {"day": "2026-03-07"}),
    ],
)
def test_a_command_is_handed_what_was_given_and_no_more(
    arguments: str, given: dict[str, Any]
) -> None:
    assert given_by(*arguments.split()) == given
    assert Knobs.model_validate(given)


def test_every_setting_has_an_option() -> None:
    def settings_of(verb: Any, settings: type[BaseModel]) -> set[str]:
        return {param.name for param in verb.params} & set(settings.model_fields)

    assert settings_of(load_verb("generate"), Settings) == set(Settings.model_fields)
    train = load_verb("train").commands
    assert settings_of(train["dpo"], TrainSettings) == set(TrainSettings.model_fields) - {"method"}
    of_sft = settings_of(train["sft"], TrainSettings)
    assert of_sft == set(TrainSettings.model_fields) - {"method", *PAIR_KEYS}


@pytest.mark.parametrize("settings", [Settings, TrainSettings])
def test_every_setting_says_what_it_is_and_what_it_is_about(settings: type[BaseModel]) -> None:
    for name, field in settings.model_fields.items():
        assert field.description, name
        assert not field.description.endswith("."), name
        assert isinstance(field.json_schema_extra, dict), name
        assert field.json_schema_extra["panel"] in get_args(Panel), name


def test_panels_of_pairs_are_the_settings_of_pairs() -> None:
    fields = TrainSettings.model_fields
    extras = {name: field.json_schema_extra for name, field in fields.items()}
    about = {n for n, e in extras.items() if isinstance(e, dict) and e["panel"] == "Preferences"}
    assert about == set(PAIR_KEYS)


def resolved(monkeypatch: pytest.MonkeyPatch, *arguments: str) -> Settings:
    held: list[Settings] = []
    monkeypatch.setattr(generate, "_dry_run", lambda settings, *_: held.append(settings))
    done = CliRunner().invoke(app, ["generate", "--dry-run", *arguments])
    if done.exception is not None:
        raise done.exception
    [settings] = held
    return settings


def test_options_win_over_set_over_the_file(monkeypatch: pytest.MonkeyPatch) -> None:
    Path("c.yaml").write_text("seed: 1\nlimit: 1\ncot: true\nstages: [sft]\n")
    made = resolved(
        monkeypatch,
        *("--config", "c.yaml", "--set", "seed=2", "--set", "limit=2"),
        *("--seed", "3", "--no-cot", "--stages", "sft,preferences", "--no-verdict"),
    )
    assert (made.seed, made.limit, made.cot, made.verdict) == (3, 2, False, False)
    assert made.stages == ("sft", "preferences")
    assert resolved(monkeypatch, "--preset", "bai2022", "--revisions", "2").revisions == 2
    assert resolved(monkeypatch, "--preset", "bai2022").revisions == 4


@pytest.mark.parametrize(
    ("arguments", "where"),
    [
        (("--kind", "evil"), "--kind"),
        (("--judge-principles", "0"), "--judge-principles"),
        (("--stages", "sft,dpo"), "--stages"),
        (("--set", "kind=evil"), "--set kind=evil: kind"),
        (("--set", "judge_principels=2"), "--set judge_principels=2"),
    ],
)
def test_an_error_names_the_option(
    monkeypatch: pytest.MonkeyPatch, arguments: tuple[str, ...], where: str
) -> None:
    with pytest.raises(InputError) as caught:
        resolved(monkeypatch, *arguments)
    assert caught.value.where == where
    assert caught.value.hint
    assert "`" not in caught.value.hint


def test_a_rank_of_null_is_given_as_an_option(monkeypatch: pytest.MonkeyPatch) -> None:
    from cai.cli import train

    held: list[TrainSettings] = []
    monkeypatch.setattr(train, "_plan", held.append)
    base = ["train", "sft", "rows.jsonl", "--dry-run"]
    done = CliRunner().invoke(
        app, [*base, "--lora", "null", "--mix", "a=1", "--mix", "b", "--out", "o/"]
    )
    assert done.exception is None
    assert (held[0].lora, held[0].mix, held[0].out) == (None, ("a=1", "b"), "o")
    wrong = CliRunner().invoke(app, [*base, "--lora", "high"])
    assert isinstance(wrong.exception, CaiError)
    assert wrong.exception.message.startswith("--lora: ")
    assert CliRunner().invoke(app, [*base, "--loss", "hard"]).exit_code == 2


# ---- the tables of the docs


def test_the_docs_have_the_tables_of_the_fields() -> None:
    assert tables.main(["--check"], DOCS) == 0


def test_a_page_that_lags_fails_and_can_be_written(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for name in tables.PAGES:
        (tmp_path / name).write_text((DOCS / name).read_text(encoding="utf-8"), encoding="utf-8")
    page = tmp_path / "generate.md"
    whole = page.read_text(encoding="utf-8")
    page.write_text(whole.replace("| 0.05 |", "| 0.5 |"), encoding="utf-8")
    assert tables.main(["--check"], tmp_path) == 1
    assert "generate.md lags behind" in capsys.readouterr().err
    assert tables.main(["--write"], tmp_path) == 0
    assert page.read_text(encoding="utf-8") == whole
    with pytest.raises(ValueError, match="settings: begin"):
        tables.page_with_tables("# A page without marks\n", "generate")
