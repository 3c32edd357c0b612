"""Constitution files: what loads, what is refused and how it is said."""

import json
import math
import re
import time
from pathlib import Path

import pytest
import yaml
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from cai.constitution.lint import Finding, lint, only_forbids, seed_tags, shares
from cai.constitution.load import load
from cai.constitution.records import (
    Case,
    Check,
    Conflict,
    Constitution,
    FewShot,
    Principle,
)
from cai.constitution.rules import compiled, finding
from cai.constitution.yaml_file import dumped
from cai.errors import CaiError, InputError
from cai.files import constitutions_dir
from cai.records import KINDS

SHIPPED = sorted(constitutions_dir().glob("*.yaml"))
HEAD = "name: x\nversion: 1\nprinciples:\n"  # lines 1 to 3
ONE = "  - {id: a, critique: c, revise: r}\n"  # line 4
GOOD = HEAD + ONE


def write(folder: Path, text: str | bytes, name: str = "c.yaml") -> Path:
    path = folder / name
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return path


def error(folder: Path, text: str | bytes) -> InputError:
    with pytest.raises(InputError) as caught:
        load(write(folder, text))
    return caught.value


def principle(*lines: str) -> str:
    """A file whose one principle has these lines, the first on line 5."""
    return HEAD + "  - id: a\n" + "".join(f"    {line}\n" for line in lines)


def few_shot(*lines: str, fine: bool = True) -> str:
    """A file with a few_shot case of these lines, the first on line 6, and one that is fine."""
    rest = "  - {principle: a, prompt: p, response: r, critique: c, verdict: fine}\n"
    first, *more = lines
    case = f"  - {first}\n" + "".join(f"    {line}\n" for line in more)
    return GOOD + "few_shot:\n" + case + (rest if fine else "")


CASE = ("principle: a", "prompt: p", "response: r", "critique: c")

# name: (text, line, what the message holds)
MALFORMED: dict[str, tuple[str | bytes, int, str]] = {
    "empty": ("", 1, "empty"),
    "only a comment": ("# nothing\n", 1, "empty"),
    "a list": ("- id: a\n- id: b\n", 1, "a list"),
    "a text": ("hello\n", 1, "mapping"),
    "no name": ("version: 1\nprinciples:\n" + ONE, 1, "name: is missing"),
    "no version": ("name: x\nprinciples:\n" + ONE, 1, "version: is missing"),
    "no principles": ("name: x\nversion: 1\n", 1, "principles: is missing"),
    "a name that is a path": (GOOD.replace("name: x", "name: ../x"), 1, "name: ../x may only hold"),
    "an absolute name": (GOOD.replace("name: x", "name: /tmp/x"), 1, "name: /tmp/x may only hold"),
    "a name with a line break": (GOOD.replace("name: x", 'name: "a\\nb"'), 1, "name: 'a\\nb' may"),
    "a long name": (GOOD.replace("name: x", f"name: {'x' * 61}"), 1, "name: "),
    "no principle in principles": ("name: x\nversion: 1\nprinciples: []\n", 3, "principles: is"),
    "principles a mapping": (HEAD + "  a: b\n", 3, "principles: is a mapping"),
    "principles a text": ("name: x\nversion: 1\nprinciples: a\n", 3, "principles: is text"),
    "principles left empty": (HEAD, 3, "principles: is empty"),
    "a principle is text": (HEAD + "  - be nice\n", 4, "principles[0]: is text"),
    "a newer version": (GOOD.replace("version: 1", "version: 2\nnew: 3"), 2, "newer cai"),
    "version in quotes": (GOOD.replace("version: 1", 'version: "1"'), 2, "version: is"),
    "version 1.0": (GOOD.replace("version: 1", "version: 1.0"), 2, "version: is 1.0"),
    "version 0": (GOOD.replace("version: 1", "version: 0"), 2, "version: is 0"),
    "version a list": (GOOD.replace("version: 1", "version: [1]"), 2, "version: is a list"),
    "version true": (GOOD.replace("version: 1", "version: true"), 2, "version: is true"),
    "unknown key": (principle("critique: c", "revize: r"), 6, "principles[0].revize: is unknown"),
    "unknown key at the top": (GOOD + "colour: red\n", 5, "colour: is unknown"),
    "hyphen in a key": (GOOD + "few-shot: []\n", 5, "few-shot: is unknown"),
    "a key of a case": (principle("compare: c", "revision: r"), 6, "is a key of an example"),
    "a key of a principle": (GOOD + "weight: 2\n", 5, "is a key of a principle"),
    "few_shot in a principle": (principle("compare: c", "few_shot: []"), 6, "of the top level"),
    "duplicate key": (principle("compare: c", "why: w", "compare: d"), 7, "on lines 5 and 7"),
    "duplicate key at the top": ("name: x\n" + GOOD, 2, "name: is given twice, on lines 1 and 2"),
    "a merge key": (principle("compare: c", "<<: {why: w}"), 6, "merge key"),
    "a key that is a list": (principle("compare: c", "? [a]", ": b"), 6, "not a word"),
    "critique alone": (principle("critique: c"), 5, "principles[0].revise: is missing"),
    "revise alone": (principle("compare: d", "revise: c"), 6, "principles[0].critique: is missing"),
    "no stage": (principle("why: w"), 4, "principles[0]: has neither"),
    "no id": (HEAD + "  - compare: c\n", 4, "principles[0].id: is missing"),
    "an id with spaces": (HEAD + "  - {compare: c, id: No Harm}\n", 4, "principles[0].id"),
    "an id of a hyphen": (HEAD + "  - {compare: c, id: -a}\n", 4, "principles[0].id"),
    "an id that is a number": (HEAD + "  - {compare: c, id: 12}\n", 4, "12 is a number in YAML"),
    "one id twice": (GOOD + ONE, 5, "a is taken; it is on lines 4 and 5"),
    "text that is a boolean": (principle("compare: no"), 5, "is a boolean in YAML: put quotes"),
    "text that is a number": (principle("compare: 1_000"), 5, "is a number in YAML: put quotes"),
    "text that is a date": (principle("compare: 2024-01-31"), 5, "is a date in YAML: put quotes"),
    "text that is a list": (principle("compare: [a, b]"), 5, "principles[0].compare: is a list"),
    "text that is a mapping": (principle("compare: {{ x }}"), 5, "compare: is a mapping"),
    "text left empty": (principle("compare:", "why: w"), 5, "principles[0].compare: is empty"),
    "empty text": (principle('compare: ""'), 5, "principles[0].compare: is empty"),
    "blank text": (principle('compare: " \\n "'), 5, "principles[0].compare: is empty"),
    "weight 0": (principle("compare: c", "weight: 0"), 6, "principles[0].weight: is 0"),
    "weight below 0": (principle("compare: c", "weight: -1"), 6, "principles[0].weight: is -1"),
    "weight infinite": (principle("compare: c", "weight: .inf"), 6, "principles[0].weight"),
    "weight infinity": (principle("compare: c", "weight: infinity"), 6, "principles[0].weight"),
    "weight not a number": (principle("compare: c", "weight: .nan"), 6, "principles[0].weight"),
    "weight too large": (principle("compare: c", "weight: 1e999"), 6, "principles[0].weight"),
    "weight a word": (principle("compare: c", "weight: high"), 6, "weight: is high"),
    "weight true": (principle("compare: c", "weight: true"), 6, "weight: is true"),
    "weight a list": (principle("compare: c", "weight: [1]"), 6, "weight: is a list"),
    "tags a text": (principle("compare: c", "tags: fraud"), 6, "principles[0].tags: is text"),
    "tags with an empty one": (principle("compare: c", 'tags: [a, ""]'), 6, "tags[1]: is empty"),
    "tags with a boolean": (principle("compare: c", "tags: [no]"), 6, "tags[0]: no is a boolean"),
    "applies_to a text": (principle("compare: c", "applies_to: helpful"), 6, "applies_to: is text"),
    "an example of a text": (principle("compare: c", "examples: [x]"), 6, "examples[0]: is text"),
    "an example without response": (
        principle("compare: c", "examples:", "- {prompt: p, verdict: fine}"),
        7,
        "principles[0].examples[0].response: is missing",
    ),
    "an example that is fine and revised": (
        principle("compare: c", "examples:", "- prompt: p", "  response: r", "  verdict: fine")
        + "      revision: s\n",
        10,
        "principles[0].examples[0].revision: a case that is fine",
    ),
    "principle in an example": (
        principle(
            "compare: c",
            "examples:",
            "- {prompt: p, response: r, verdict: fine, principle: a}",
        ),
        7,
        "principles[0].examples[0].principle: is a key of a few_shot case",
    ),
    "verdict no": (few_shot(*CASE, "verdict: no"), 10, "few_shot[0].verdict: is no (a boolean)"),
    "verdict misspelled": (few_shot(*CASE, "verdict: violate"), 10, "few_shot[0].verdict"),
    "verdict 1": (few_shot(*CASE, "verdict: 1"), 10, "few_shot[0].verdict: is 1"),
    "few_shot without critique": (
        few_shot("principle: a", "prompt: p", "response: r", "verdict: fine"),
        6,
        "few_shot[0].critique: is missing",
    ),
    "few_shot without principle": (
        few_shot("prompt: p", "response: r", "critique: c", "verdict: fine"),
        6,
        "few_shot[0].principle: is missing",
    ),
    "few_shot of no principle": (
        few_shot("principle: b", *CASE[1:], "verdict: fine"),
        6,
        "few_shot[0].principle: b is not the id",
    ),
    "few_shot of a principle without critique": (
        few_shot(*CASE, "verdict: fine", fine=False).replace(
            "critique: c, revise: r", "compare: c"
        ),
        6,
        "few_shot[0].principle: a has no critique and revise",
    ),
    "few_shot that violates unrevised": (
        few_shot(*CASE, "verdict: violates"),
        6,
        "few_shot[0].revision: is missing",
    ),
    "few_shot that is fine and revised": (
        few_shot(*CASE, "verdict: fine", "revision: s"),
        11,
        "few_shot[0].revision: a case that is fine",
    ),
    "few_shot with nothing fine": (
        few_shot(*CASE, "verdict: violates", "revision: s", fine=False),
        5,
        "few_shot: no case is fine",
    ),
    "few_shot a mapping": (GOOD + "few_shot: {a: b}\n", 5, "few_shot: is a mapping"),
    "a python tag": (principle('compare: !!python/object/apply:os.system ["ls"]'), 5, "the tag"),
    "a python tag on the file": ("!!python/dict\n" + GOOD, 1, "the file: the tag"),
    "a tag of one's own": (principle("compare: !secret c"), 5, "compare: the tag !secret"),
    "a binary tag": (principle("compare: !!binary aGk="), 5, "compare: the tag"),
    "two documents": (GOOD + "---\n" + GOOD, 5, "not valid YAML"),
    "tab": (HEAD + "\t- id: a\n", 4, "not valid YAML"),
    "bad indentation": (principle("compare: c", " why: w"), 6, "not valid YAML"),
    "a colon in text": (principle("compare: Ask: is it?"), 5, "not valid YAML: mapping values"),
    "an open quote": (principle('compare: "c', "why: w"), 7, "not valid YAML"),
    "an unknown alias": (principle("compare: *b"), 5, "not valid YAML: found undefined alias"),
    "a list in itself": (principle("compare: c", "tags: &t [*t]"), 6, "tags[0]: is a list"),
    "a mapping in itself": (HEAD + "  - &p {id: a, compare: *p}\n", 4, "compare: is a mapping"),
    "deep nesting": (principle("compare: " + "[" * 9999), 5, "nested more than 50"),
    "a NUL": (principle("compare: a\0b"), 5, "U+0000"),
    "an escape character": (principle("why: w", "compare: a\x1b[31mb"), 6, "U+001B"),
    "an escaped NUL": (principle('compare: "a\\0b"'), 5, "compare: holds U+0000"),
    "an escaped escape": (principle('compare: "a\\e[31m"'), 5, "compare: holds U+001B"),
    "a lone surrogate": (principle('compare: "a \\ud800"'), 5, "compare: holds U+D800"),
    "a surrogate in a tag": (principle("compare: c", 'tags: ["\\udfff"]'), 6, "tags[0]: holds"),
    "a character out of range": (principle('compare: "\\UFFFFFFFF"'), 5, "not valid YAML"),
    "an unknown escape": (principle('compare: "\\d"'), 5, "not valid YAML"),
    "Latin-1": (principle("compare: café").encode("latin-1"), 5, "not UTF-8 (byte 0xe9)"),
    "UTF-16": (GOOD.encode("utf-16"), 1, "not UTF-8"),
}


@pytest.mark.parametrize("name", MALFORMED)
def test_a_malformed_file_is_one_error_with_line_field_and_hint(tmp_path: Path, name: str) -> None:
    text, line, words = MALFORMED[name]
    caught = error(tmp_path, text)
    assert caught.where == f"{tmp_path / 'c.yaml'}:{line}"
    assert words in caught.message.splitlines()[0]
    assert len(caught.message.splitlines()) == 1, "one fault, one error"
    assert caught.hint


@pytest.mark.parametrize(
    ("text", "hint"),
    [
        (principle("critique: c", "revize: r"), "Did you mean `revise`?"),
        (GOOD + "few-shot: []\n", "Did you mean `few_shot`?"),
        (principle("compare: c", "Weight: 2"), "Did you mean `weight`?"),
        (few_shot(*CASE, "verdict: violate"), "Did you mean `violates`?"),
        (few_shot("principle: aa", *CASE[1:], "verdict: fine"), "Did you mean `a`?"),
        (principle("compare: no"), 'Write "no" in quotes'),
        (GOOD.replace("name: x", "name: ../Our Rules"), "write `name: Our Rules`"),
        (HEAD + "  - {compare: c, id: No Harm!}\n", "Write `id: no-harm`."),
        (principle("compare: c", "tags: fraud"), "Write `[fraud]`."),
        (HEAD + "\t- id: a\n", "spaces"),
        (principle("compare: Ask: is it?"), "quotes"),
        (GOOD + "---\n" + GOOD, "remove the `---`"),
    ],
)
def test_the_hint_says_what_to_write(tmp_path: Path, text: str, hint: str) -> None:
    assert hint in error(tmp_path, text).hint


def test_several_faults_are_told_at_once_in_the_order_of_lines(tmp_path: Path) -> None:
    text = principle("critique: no", "weight: 0", "whyy: w", "revise: r") + "colour: red\n"
    caught = error(tmp_path, text)
    path = tmp_path / "c.yaml"
    lines = str(InputError(caught.where, "")).strip(), *caught.message.splitlines()[1:]
    assert [line.split(":")[1] for line in lines] == ["5", "6", "7", "9"]
    assert all(line.startswith(f"{path}:") for line in lines)
    assert [h.split(":")[0] for h in caught.hint.splitlines()] == [
        f"Line {n}" for n in (5, 6, 7, 9)
    ]


def test_reading_stops_at_ten_errors(tmp_path: Path) -> None:
    caught = error(tmp_path, HEAD + "  - {id: A, weight: 0, tags: x}\n" * 50)
    assert len(caught.message.splitlines()) == 10
    assert "stopped at 10" in caught.hint


def test_a_newer_version_is_the_only_complaint(tmp_path: Path) -> None:
    text = "colour: red\nname: x\nversion: 3\nrules: []\n"
    caught = error(tmp_path, text)
    assert caught.where.endswith(":3")
    assert "newer cai" in caught.message
    assert "colour" not in caught.message


def test_a_missing_bare_name_lists_the_shipped_files(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(InputError) as caught:
        load(Path("defualt.yaml"))
    assert caught.value.where == "defualt.yaml"
    assert "default.yaml" in caught.value.hint
    with pytest.raises(InputError, match="No such file"):
        load(tmp_path / "sub" / "c.yaml")


def test_a_folder_and_an_oversized_file_are_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="is a folder") as caught:
        load(tmp_path)
    assert caught.value.hint
    assert "larger than" in error(tmp_path, b"#" * 4_000_001).message
    with pytest.raises(InputError):
        load(Path("a\0b.yaml"))


def test_aliases_work_within_bounds(tmp_path: Path) -> None:
    text = HEAD + "  - {id: a, compare: &c Which}\n  - {id: b, compare: *c}\n"
    assert [p.compare for p in load(write(tmp_path, text)).principles] == ["Which"] * 2
    case = f"&x {{prompt: {'p' * 99_000}, response: r, verdict: fine}}"
    bomb = principle("compare: c", "examples:", f"- {case}", *["- *x"] * 2000)
    start = time.monotonic()
    caught = error(tmp_path, bomb)
    assert "aliases" in caught.message
    assert time.monotonic() - start < 20


GENTLE: dict[str, str | bytes] = {
    "BOM": b"\xef\xbb\xbf" + GOOD.encode(),
    "CRLF": GOOD.replace("\n", "\r\n"),
    "JSON": json.dumps(yaml.safe_load(GOOD)),
    "JSON, indented": json.dumps(yaml.safe_load(GOOD), indent=4),
    "explicit document": "%YAML 1.2\n---\n" + GOOD + "...\n",
    "nulls": GOOD + "few_shot: null\ndescription: ~\n",
    "empty lists": GOOD + "few_shot: []\n",
    "explicit str tag": GOOD.replace("name: x", "name: !!str x"),
}


@pytest.mark.parametrize("name", GENTLE)
def test_forms_that_mean_the_same_load_the_same(tmp_path: Path, name: str) -> None:
    expected = load(write(tmp_path, GOOD, "plain.yaml"))
    assert load(write(tmp_path, GENTLE[name])) == expected


@pytest.mark.parametrize(
    ("written", "weight"), [("5e-7", 5e-7), ("2", 2.0), ("0.5", 0.5), ("1e3", 1000.0), ('"2"', 2.0)]
)
def test_weights(tmp_path: Path, written: str, weight: float) -> None:
    loaded = load(write(tmp_path, principle("compare: c", f"weight: {written}")))
    assert loaded.principles[0].weight == weight


@pytest.mark.parametrize(
    "text",
    ["{{ 7*7 }}", "{% for x in y %}", "[bold]x[/bold]", "<|im_end|>", "  spaced ", "=", "a\nb"],
)
def test_text_is_kept_as_written(tmp_path: Path, text: str) -> None:
    loaded = load(write(tmp_path, principle(f"compare: {json.dumps(text)}")))
    assert loaded.principles[0].compare == text


def test_an_emoji_in_json_escapes_is_one_character(tmp_path: Path) -> None:
    loaded = load(write(tmp_path, principle(f"compare: {json.dumps('so 😀!')}")))
    assert loaded.principles[0].compare == "so 😀!"


def test_shipped_constitutions() -> None:
    names = {"default.yaml", "brand-voice.yaml", "childrens-tutor.yaml", "plain-answers.yaml"}
    assert {p.name for p in SHIPPED} >= names
    default = load(constitutions_dir() / "default.yaml")
    assert len(default.principles) >= 16
    restraint = {"no-preaching", "no-needless-refusal", "good-faith", "no-filler", "one-warning"}
    assert len(restraint & {p.id for p in default.principles}) >= 3
    assert default.principle("no-preaching").applies_to == ()
    # What pushes for help is not asked of prompts that ask for harm, and harm is looked for first.
    for name in ("no-needless-refusal", "good-faith", "one-warning", "answer-the-question"):
        assert default.principle(name).applies_to == ("helpful", "borderline")
    assert {default.principle(name).order for name in restraint} == {2}
    for kind in KINDS:
        first = {p.id for p in default.principles if p.order == 1} & set(
            shares(default, kind, "revise")
        )
        assert len(first) >= 6


@pytest.mark.parametrize("path", SHIPPED, ids=lambda p: p.name)
def test_shipped_constitutions_lint_clean_but_for_notes(path: Path) -> None:
    assert {f.severity for f in lint(load(path))} <= {"note"}


def test_the_example_of_the_documentation_is_clean(tmp_path: Path) -> None:
    page = (Path(__file__).parents[2] / "docs" / "constitution.md").read_text(encoding="utf-8")
    text = page.split("```yaml\n")[1].split("```")[0]
    assert {f.severity for f in lint(load(write(tmp_path, text)))} <= {"note"}


@pytest.mark.parametrize("path", SHIPPED, ids=lambda p: p.name)
def test_answers_that_shipped_files_call_good_keep_their_rules(path: Path) -> None:
    constitution = load(path)
    rules = [p.check for p in constitution.principles if p.check and not p.applies_to]
    cases = [case for p in constitution.principles for case in p.examples]
    for case in (*cases, *constitution.few_shot):
        good = case.revision if case.verdict == "violates" else case.response
        assert [said for rule in rules if (said := finding(rule, good or ""))] == []


def test_the_documentation_names_every_field() -> None:
    page = (Path(__file__).parents[2] / "docs" / "constitution.md").read_text(encoding="utf-8")
    fields = {*Constitution.model_fields, *Principle.model_fields, *FewShot.model_fields}
    fields |= {*Check.model_fields, *Conflict.model_fields} - {"between", "prompt"}
    assert all(f"`{field}`" in page for field in fields)


# --- properties -------------------------------------------------------------------------------

# Zl and Zp (line and paragraph separators) are line breaks to YAML, and PyYAML writes them so.
TEXT = st.text(
    st.characters(exclude_categories=["Cs", "Cc", "Zl", "Zp"]) | st.sampled_from("\n\t"), min_size=1
).filter(lambda t: bool(t.strip()))
OPTIONAL = st.none() | TEXT
WORDS = st.lists(TEXT, max_size=3).map(tuple)
WEIGHT = st.floats(min_value=0, exclude_min=True, allow_nan=False, allow_infinity=False)
NAMES = st.from_regex(r"\w[\w .+-]{0,59}", fullmatch=True)
IDS = st.from_regex(r"[a-z0-9][a-z0-9-]*", fullmatch=True)


@st.composite
def cases(draw: st.DrawFn) -> Case:
    verdict = draw(st.sampled_from(["violates", "fine"]))
    revision = draw(TEXT) if verdict == "violates" else None
    return Case(
        prompt=draw(TEXT),
        response=draw(TEXT),
        verdict=verdict,
        critique=draw(OPTIONAL),
        revision=revision,
    )


@st.composite
def checks(draw: st.DrawFn) -> Check:
    least = draw(st.integers(0, 9))
    optional: dict[str, st.SearchStrategy[object]] = {
        "min_words": st.just(least),
        "max_words": st.integers(least, 99),
        "max_characters": st.integers(0, 999),
        "forbid": st.lists(TEXT.map(re.escape).filter(compiles), min_size=1, max_size=2),
        "require": st.lists(st.sampled_from([r"\bword\b", "(?i)a|b"]), min_size=1, max_size=2),
        "starts_with": TEXT,
        "ends_with_question": st.booleans(),
        "lists": st.just(False),
        "language": st.sampled_from(["en", "no", "zh"]),
        "valid_json": st.just(True),
    }
    names = draw(st.lists(st.sampled_from(sorted(optional)), min_size=1, unique=True))
    return Check.model_validate({name: draw(optional[name]) for name in names})


def compiles(pattern: str) -> bool:
    try:
        compiled(pattern)
    except ValueError:
        return False
    return "\b" not in pattern


@st.composite
def principles(draw: st.DrawFn, name: str) -> Principle:
    revises = draw(st.booleans())
    check = draw(st.none() | checks())
    return Principle(
        id=name,
        critique=draw(TEXT) if revises else None,
        revise=draw(TEXT) if revises else None,
        compare=draw(OPTIONAL if revises or check else TEXT),
        violation=draw(OPTIONAL),
        check=check,
        order=draw(st.integers(1, 5)),
        why=draw(OPTIONAL),
        weight=draw(WEIGHT),
        tags=draw(WORDS),
        applies_to=draw(WORDS),
        examples=draw(st.lists(cases(), max_size=2).map(tuple)),
    )


@st.composite
def constitutions(draw: st.DrawFn) -> Constitution:
    names = draw(st.lists(IDS, min_size=1, max_size=4, unique=True))
    rules = tuple(draw(principles(name)) for name in names)
    shots: tuple[FewShot, ...] = ()
    usable = [p.id for p in rules if p.revises]
    if usable and draw(st.booleans()):
        fields = {"principle": draw(st.sampled_from(usable)), "critique": draw(TEXT)}
        made = draw(st.lists(cases(), max_size=2))
        fine = Case(prompt=draw(TEXT), response=draw(TEXT), verdict="fine")
        shots = tuple(FewShot(**{**c.model_dump(), **fields}) for c in (*made, fine))
    pairs = st.lists(st.sampled_from(names), min_size=2, max_size=2, unique=True)
    between = draw(st.lists(pairs, max_size=2)) if len(names) > 1 else []
    return Constitution(
        name=draw(NAMES),
        description=draw(OPTIONAL),
        principles=rules,
        few_shot=shots,
        conflicts=tuple(Conflict(between=(a, b), prompt=draw(TEXT)) for a, b in between),
    )


SLOW = settings(
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)


def survives(path: Path) -> bool:
    """Loads, or fails as it should; any other exception is let through."""
    try:
        load(path)
    except CaiError as caught:
        return bool(caught.message and caught.hint)
    return True


@given(constitutions(), st.booleans(), st.booleans())
@SLOW
def test_what_is_dumped_loads_back_equal(
    tmp_path: Path, constitution: Constitution, unicode: bool, nulls: bool
) -> None:
    data = constitution.model_dump(mode="json", exclude_none=not nulls)
    loaded = load(write(tmp_path, yaml.safe_dump(data, allow_unicode=unicode)))
    assert loaded == constitution
    assert loaded.digest == constitution.digest
    lint(loaded)
    # As a run writes it.
    short = {**constitution.model_dump(mode="json", exclude_defaults=True), "version": 1}
    assert load(write(tmp_path, dumped(short, 100))) == constitution


@given(st.binary(max_size=300))
@SLOW
def test_random_bytes_raise_nothing_but_cai_errors(tmp_path: Path, data: bytes) -> None:
    for prefix in (b"", GOOD.encode(), principle("compare: ").encode().rstrip()):
        assert survives(write(tmp_path, prefix + data))


RECORDS = (Constitution, Principle, FewShot, Check, Conflict)
KEYS = st.sampled_from([field for record in RECORDS for field in record.model_fields])
TREES = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text(max_size=8)
    | st.dates()
    | st.sampled_from(["violates", "fine", "a"]),
    lambda t: st.lists(t, max_size=3) | st.dictionaries(KEYS | st.text(max_size=3), t, max_size=6),
    max_leaves=30,
)


@given(st.dictionaries(KEYS, TREES, max_size=6) | TREES)
@SLOW
def test_random_trees_raise_nothing_but_cai_errors(tmp_path: Path, tree: object) -> None:
    whole = {"name": "x", "version": 1, "principles": [tree, {"id": "a", "compare": tree}]}
    for data in (tree, whole, {**whole, "few_shot": tree}):
        assert survives(write(tmp_path, yaml.safe_dump(data)))


@given(st.text(alphabet="-:?[]{}&*!|>'\"%@`#,ab1 \n\t\\<=~.", max_size=60))
@SLOW
def test_random_yaml_signs_raise_nothing_but_cai_errors(tmp_path: Path, text: str) -> None:
    for prefix in ("", HEAD, principle("compare: ").rstrip("\n")):
        assert survives(write(tmp_path, prefix + text))


# --- lint -------------------------------------------------------------------------------------

LONG = (
    "Does your last answer help anyone to take what belongs to somebody else, and who would pay?",
    "Write the answer again without those steps and explain the honest way in full detail.",
    "Which answer keeps to honest means and still takes the person further?",
)
CARE = (
    "Is there a lecture, a needless refusal or boilerplate in your last answer? Quote it.",
    "Keep what answers the question and put a concrete detail where the phrase was.",
    "Which answer speaks plainly and leaves nobody without harmless help?",
)
FINE = Case(prompt="p", response="r", verdict="fine")
SHOT = FewShot(prompt="p", response="r", verdict="fine", critique="c", principle="long")


def rule(name: str, texts: tuple[str | None, str | None, str | None], **more: object) -> Principle:
    critique, revise, compare = texts
    fields = {"critique": critique, "revise": revise, "compare": compare, "examples": (FINE,)}
    return Principle.model_validate({"id": name, **fields, **more})


def constitution(*rules: Principle, shots: tuple[FewShot, ...] = (SHOT,)) -> Constitution:
    return Constitution(name="x", principles=rules, few_shot=shots)


CLEAN = (rule("long", LONG), rule("care", CARE))


def found(c: Constitution, check: str, tags: tuple[str, ...] | None = None) -> list[Finding]:
    return [f for f in lint(c, tags) if f.check == check]


def test_a_clean_constitution_has_no_findings() -> None:
    assert lint(constitution(*CLEAN)) == []


def test_a_duplicate_is_an_error() -> None:
    shouted = rule("shouted", tuple(t.upper().replace(" ", "  ") for t in LONG))
    (finding,) = found(constitution(*CLEAN, shouted), "duplicate")
    assert (finding.severity, finding.principle) == ("error", "shouted")
    assert "long" in finding.message
    assert found(constitution(*CLEAN, shouted), "near-duplicate") == []


def test_a_near_duplicate_is_a_warning_that_names_the_fields() -> None:
    near = LONG[0].replace("take", "carry off").replace("pay", "suffer")
    (finding,) = found(constitution(*CLEAN, rule("near", (near, *CARE[1:]))), "near-duplicate")[:1]
    assert (finding.severity, finding.principle) == ("warning", "near")
    assert finding.message.startswith("critique: nearly the wording of long")
    assert found(constitution(*CLEAN), "near-duplicate") == []


def test_stages_and_kinds_without_a_principle() -> None:
    only_compare = rule("c", (None, None, LONG[2]))
    (finding,) = found(constitution(only_compare, shots=()), "no-revise")
    assert finding.severity == "error"
    (finding,) = found(constitution(rule("r", (*LONG[:2], None))), "no-compare")
    assert finding.severity == "warning"
    limited = rule("long", LONG, applies_to=["red-team", "fraud"])
    kinds = found(constitution(limited), "no-kind")
    assert ["helpful" in kinds[0].message, "borderline" in kinds[1].message] == [True, True]
    assert len(kinds) == 2
    for check in ("no-revise", "no-compare", "no-kind"):
        assert found(constitution(*CLEAN), check) == []


def test_a_tag_that_no_prompt_carries_is_unreachable() -> None:
    typo = rule("typo", LONG, applies_to=["redteam"])
    (finding,) = found(constitution(typo, *CLEAN), "unreachable")
    assert (finding.severity, finding.principle) == ("warning", "typo")
    assert "did you mean red-team?" in finding.message
    own = constitution(rule("own", LONG, applies_to=["returns", "helpful"]), *CLEAN)
    assert len(found(own, "unreachable")) == 1
    assert found(own, "unreachable", ("returns",)) == []
    seeds = rule("seeds", LONG, applies_to=["fraud"])
    assert found(constitution(seeds), "unreachable") == []
    assert len(found(constitution(seeds), "unreachable", ())) == 1


@pytest.mark.parametrize(
    "text",
    [
        "Remove all harmful content.",
        "Please rewrite the response to remove any harmful or offensive content.",
        "Do not lecture. Never say that you are sorry.",
        "Avoid giving advice on medicine.",
        "Don’t preach, and cut the warnings.",
    ],
)
def test_a_request_that_only_forbids(text: str) -> None:
    assert only_forbids(text)
    (finding,) = found(constitution(rule("bad", (LONG[0], text, LONG[2]))), "only-forbids")
    assert (finding.severity, finding.principle) == ("warning", "bad")


@pytest.mark.parametrize(
    "text",
    [
        "Do not scold but explain the law.",
        "Cut the sermon and use the space for the substance.",
        "Never give a dose; say which doctor could.",
        "Rewrite it so that it is kinder.",
        "Rewrite it for someone who is not an expert.",
        "Formuliere es neu, ohne Vorwurf.",
    ],
)
def test_a_request_that_says_what_to_write(text: str) -> None:
    assert not only_forbids(text)


def test_few_shots() -> None:
    (finding,) = found(constitution(*CLEAN, shots=()), "no-few-shot")
    assert finding.severity == "note"
    bad = SHOT.model_copy(update={"verdict": "violates", "revision": "s"})
    (finding,) = found(constitution(*CLEAN, shots=(bad,)), "no-fine-case")
    assert finding.severity == "error"
    assert found(constitution(*CLEAN, shots=(bad, SHOT)), "no-fine-case") == []


def test_missing_restraint_is_noted_by_vice() -> None:
    notes = found(constitution(rule("long", LONG)), "no-restraint")
    assert {f.severity for f in notes} == {"note"}
    assert len(notes) == 3
    assert found(constitution(*CLEAN), "no-restraint") == []


def test_a_principle_that_takes_most_draws() -> None:
    heavy = constitution(rule("long", LONG, weight=2.1), rule("b", CARE), rule("c", (None,) * 3))
    (finding,) = found(heavy, "uneven")
    assert (finding.severity, finding.principle) == ("warning", "long")
    assert "68% of revise on red-team" in finding.message
    even = constitution(rule("long", LONG, weight=1.0), rule("b", CARE))
    assert found(even, "uneven") == []


def test_principles_without_examples_are_one_note() -> None:
    bare = [rule(f"r{i}", LONG, examples=()) for i in range(12)]
    (finding,) = found(constitution(*CLEAN, *bare), "no-examples")
    assert finding.severity == "note"
    assert finding.message.endswith("r7 and 4 more")


def test_findings_come_errors_first() -> None:
    both = (rule("c", (None, None, "x")), rule("d", (None, None, "y"), weight=9.0))
    severities = [f.severity for f in lint(constitution(*both, shots=()))]
    assert severities == sorted(severities, key=["error", "warning", "note"].index)
    assert len(set(severities)) == 3


@given(constitutions())
@SLOW
def test_shares_sum_to_one(constitution: Constitution) -> None:
    for kind in KINDS:
        for stage in ("revise", "compare"):
            drawn = shares(constitution, kind, stage)
            orders = {constitution.principle(name).order for name in drawn}
            rounds = len(orders) if stage == "revise" else min(len(orders), 1)
            assert math.isclose(math.fsum(drawn.values()), rounds)
            assert all(constitution.principle(name).check is None for name in drawn)


def test_seed_tags_hold_the_topics() -> None:
    assert {"fraud", "privacy"} <= seed_tags()
