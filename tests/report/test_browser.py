"""The page in a browser: rows are found, opened and noted, and nothing of them is run."""

from __future__ import annotations

import json
import os
import random
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from cai.report.page import write_report
from tests.report.helpers import HOSTILE, trace, write_run

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

pytestmark = [
    pytest.mark.browser,
    pytest.mark.skipif("CAI_TEST_BROWSER" not in os.environ, reason="CAI_TEST_BROWSER is not set"),
]
CHROMIUM = "/usr/bin/chromium"
Open = Callable[..., "Page"]


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        started = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        yield started
        started.close()


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run of the scripted model on the shipped prompts, measured by hand."""
    import cai

    folder = tmp_path_factory.mktemp("page") / "run"
    cai.generate(model="scripted:fail=0.03,change=0.5", limit=90, out=folder)
    trace_id = cai.Run.load(folder).trace_ids(3)[2]
    row = {"id": trace_id, "prompt_id": trace_id, "dataset": "sft", "split": "train", "note": "n"}
    gate = {"name": "leak", "measure": "leak_share", "value": 1, "limit": 0, "passed": False,
            "words": "one row", "advice": "Drop it.", "rows": [row], "count": 1}  # fmt: skip
    figure = {"value": 0.01, "low": 0.0, "high": 0.1, "n": 90}
    quality = {"version": 1, "data": "run", "rows": {}, "leak_share": figure, "gates": [gate]}
    (folder / "quality.json").write_text(json.dumps(quality))
    return folder


@pytest.fixture(scope="module")
def page_file(run: Path) -> Path:
    return write_report(run)


@pytest.fixture
def show(browser: Browser, page_file: Path) -> Iterator[Open]:
    """Opens a page; nothing may be sent, said in the console, or asked in a dialog."""
    requests: list[str] = []
    told: list[str] = []
    contexts = []

    def open_page(
        path: Path | None = None, address: str = "", width: int = 1280, scheme: Any = "light"
    ) -> Page:
        context = browser.new_context(
            viewport={"width": width, "height": 900}, color_scheme=scheme, accept_downloads=True
        )
        contexts.append(context)
        page = context.new_page()
        page.on("request", lambda request: requests.append(request.url))
        page.on("console", lambda message: told.append(message.text))
        page.on("pageerror", lambda error: told.append(str(error)))
        page.on("dialog", lambda dialog: (told.append(dialog.message), dialog.dismiss()))
        page.goto((path or page_file).resolve().as_uri() + address)
        page.wait_for_selector("html[data-ready=yes]", timeout=60_000)
        return page

    yield open_page
    for context in contexts:
        context.close()
    assert told == []
    assert all(url.startswith(("file:", "blob:file:", "blob:null")) for url in requests), requests
    assert sum(url.startswith("file:") for url in requests) == len(contexts)


def until(page: Page, expression: str, seconds: float = 30.0) -> None:
    """Wait for an expression; the page itself may not evaluate texts."""
    end = time.monotonic() + seconds
    while not page.evaluate(expression):
        assert time.monotonic() < end, f"{expression}: {page.inner_text('#status')}"
        page.wait_for_timeout(40)


def status(page: Page) -> str:
    return page.inner_text("#status")


def test_filters_and_sorts_choose_rows_and_stand_in_the_address(show: Open) -> None:
    page = show()
    assert status(page) == "90 rows"
    page.click("#filter-box summary")
    page.select_option("select[name=kind]", "red-team")
    n = int(status(page).split()[0])
    assert 0 < n < 90
    label = page.inner_text("select[name=kind] option[value='red-team']")
    assert label == f"red-team ({n})"
    page.select_option("#sort", "edit")
    assert "kind=red-team" in page.url
    assert "sort=edit" in page.url
    first = page.inner_text(".item[aria-posinset='1'] .facts")
    assert "% changed" in first
    page.click("text=Clear all")
    assert status(page) == "90 rows"


def test_a_gate_leads_to_its_rows(show: Open) -> None:
    page = show()
    assert page.inner_text(".verdict h2") == "Look at this first: leak"
    page.click(".gates a")
    until(page, "document.querySelector('#status').textContent.startsWith('1 of')")
    page.click(".item")
    page.wait_for_selector("text=Gates that name this row")


def test_a_principle_leads_to_its_rows(show: Open) -> None:
    page = show()
    page.click(".principles tbody a >> nth=0")
    until(page, "/^\\d+ of 90 rows$/.test(document.querySelector('#status').textContent)")
    assert page.evaluate("document.querySelector('select[name=principle]').value") != ""


def test_search_goes_through_all_texts(show: Open, run: Path) -> None:
    import cai

    loaded = cai.Run.load(run)
    one = next(t for t in loaded.traces["train"] if t["steps"] and t["steps"][0]["critique"])
    words = " ".join(one["steps"][0]["critique"].split()[:9])
    page = show()
    page.fill("#search", words.upper())
    until(page, "/^1 of 90 rows$/.test(document.querySelector('#status').textContent)")
    page.press("#search", "Enter")
    page.wait_for_selector(f"#detail .id:has-text('{one['id']}')")
    page.fill("#search", "p_change")  # the name of a field is no text
    until(page, "/^0 of 90 rows$/.test(document.querySelector('#status').textContent)")


def test_an_address_opens_its_row_with_the_whole_chain(show: Open, run: Path) -> None:
    import cai

    loaded = cai.Run.load(run)
    one = next(t for t in loaded.traces["train"] if t["target"] == "revision" and t["pairs"])
    page = show(address=f"#row={one['id']}")
    page.wait_for_selector("#detail .round")
    text = page.inner_text("#detail")
    for words in (one["response"], one["steps"][0]["critique"], one["prompt"][-1]["content"]):
        assert " ".join(words.split()[:6]) in " ".join(text.split())
    assert "Verdict" in text
    assert "Better:" in text
    # What a diff keeps and adds is the new text, what it keeps and takes away the old one.
    parts = page.evaluate(
        "[...document.querySelector('.diff').children].map((n) => [n.localName, n.textContent])"
    )
    first = next(s for s in one["steps"] if s["revision"] is not None)
    new = "".join(text for name, text in parts if name != "del")
    old = "".join(text for name, text in parts if name != "ins")
    assert new.split() == first["revision"].split()
    assert old.split() == one["response"].split()


def test_keys_move_search_and_help(show: Open) -> None:
    page = show()
    page.keyboard.press("j")
    page.wait_for_selector("#detail .id")
    first = page.inner_text("#detail .id")
    page.keyboard.press("j")
    until(page, f"document.querySelector('#detail .id').textContent !== '{first}'")
    page.keyboard.press("k")
    until(page, f"document.querySelector('#detail .id').textContent === '{first}'")
    page.keyboard.press("/")
    assert page.evaluate("document.activeElement.id") == "search"
    page.keyboard.press("Escape")
    page.keyboard.press("?")
    assert page.is_visible("#help")
    page.keyboard.press("Escape")
    assert not page.is_visible("#help")
    page.keyboard.press("Escape")
    page.wait_for_selector("#detail .empty")


def test_flags_and_notes_are_saved_as_lines(show: Open, tmp_path: Path) -> None:
    page = show()
    page.keyboard.press("j")
    page.wait_for_selector("#flag")
    row = page.inner_text("#detail .id")
    page.click("#flag")
    page.fill("#note", 'odd: "quoted"\nand more')
    assert page.is_visible(".item.flagged")
    with page.expect_download() as download:
        page.click("#export")
    path = tmp_path / "notes.jsonl"
    download.value.save_as(path)
    [line] = path.read_text().splitlines()
    assert json.loads(line) == {"id": row, "flag": True, "note": 'odd: "quoted"\nand more'}


def test_a_persons_labels_are_pairs_for_the_check_of_a_judge(show: Open, tmp_path: Path) -> None:
    from cai.checks.pairs import read_pairs

    page = show(address="#kind=helpful")
    page.click(".item >> nth=0")
    page.wait_for_selector(".own-label")
    page.click(".own-label button >> nth=1")
    assert page.get_attribute(".own-label button >> nth=1", "aria-pressed") == "true"
    assert page.get_attribute(".own-label button >> nth=0", "aria-pressed") == "false"
    with page.expect_download() as download:
        page.click("#export-labels")
    path = tmp_path / "labels.jsonl"
    download.value.save_as(path)
    [pair], skipped = read_pairs(path)
    assert skipped == []
    texts = page.locator(".pair").first.inner_text()
    assert pair.chosen.split()[0] in texts
    assert pair.chosen != pair.rejected


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_the_theme_follows_the_system_and_the_button(show: Open, scheme: str) -> None:
    page = show(scheme=scheme)
    dark = "getComputedStyle(document.body).backgroundColor === 'rgb(20, 23, 26)'"
    assert page.evaluate(dark) == (scheme == "dark")
    page.click("#theme")
    assert page.evaluate(dark) == (scheme != "dark")


def test_on_a_narrow_screen_nothing_is_cut(show: Open) -> None:
    page = show(width=380)
    assert page.evaluate("document.documentElement.scrollWidth") <= 380
    page.click(".item >> nth=0")
    page.wait_for_selector("#detail .id")
    assert not page.is_visible("#list")
    assert page.evaluate("document.documentElement.scrollWidth") <= 380
    page.click("text=← Back")
    assert page.is_visible("#list")


def test_print_shows_the_verdict_and_the_open_row(show: Open) -> None:
    page = show()
    page.keyboard.press("j")
    page.wait_for_selector("#detail .id")
    page.emulate_media(media="print")
    assert page.is_visible(".verdict")
    assert page.is_visible("#detail .part")
    assert not page.is_visible("#list")
    assert not page.is_visible("#search")


def test_hostile_rows_do_nothing(show: Open, tmp_path: Path) -> None:
    rows = [trace(n, text) for n, text in enumerate(HOSTILE)]
    rows += [trace(50 + n, "words", id=text[:60] + str(n)) for n, text in enumerate(HOSTILE[:5])]
    folder = write_run(tmp_path / "run", rows)
    line = {
        "stage": "judge",
        "prompt_id": "half \ud800",
        "error": "<img src=x>",
        "message": "\ud800",
    }
    (folder / "failures.jsonl").write_text(json.dumps(line) + "\n")
    page = show(write_report(folder))
    for _ in range(15):
        page.keyboard.press("j")
        page.wait_for_timeout(60)
    assert (
        page.evaluate("document.querySelectorAll('#list img, #detail img, #detail a').length") == 0
    )
    page.evaluate("location.hash = '#row=row-4'")
    page.wait_for_selector(".hidden-character")
    assert "U+202E" in page.inner_text("#detail")
    page.evaluate("location.hash = '#row=row-7'")
    page.wait_for_selector("text=Show all")
    page.fill("#search", "<img src=x onerror")
    until(page, "/^2 of/.test(document.querySelector('#status').textContent)")


def serious(page: Page) -> list[tuple[str, list[str]]]:
    """What axe finds in a page with all its details open, and where."""
    from axe_playwright_python.sync_playwright import Axe

    page.click("#filter-box summary")
    page.evaluate("document.querySelectorAll('details').forEach((d) => { d.open = true; })")
    return [
        (one["id"], [node["html"][:200] for node in one["nodes"][:3]])
        for one in Axe().run(page).response["violations"]
        if one["impact"] in ("serious", "critical")
    ]


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_axe_finds_nothing_serious(show: Open, scheme: str) -> None:
    page = show(scheme=scheme)
    page.keyboard.press("j")
    page.wait_for_selector("#detail .id")
    assert serious(page) == []


def test_a_diff_of_long_texts_is_quick_and_right(show: Open, tmp_path: Path) -> None:
    before = " ".join(f"w{n * 7919 % 5000}" for n in range(36_000))
    after = before.replace("w77 ", "new ").replace("w999 ", "") + " the end"
    row = trace(0)
    row["response"], row["steps"][0]["revision"], row["final"] = before, after, after
    page = show(write_report(write_run(tmp_path / "run", [row])), "#row=row-0")
    page.wait_for_selector("#detail .diff", timeout=20_000)
    page.click(".diff >> text=Show all of it")
    parts = page.evaluate(
        "[...document.querySelector('.diff').children].map((n) => [n.localName, n.textContent])"
    )
    assert "".join(text for name, text in parts if name != "del").split() == after.split()
    assert "".join(text for name, text in parts if name != "ins").split() == before.split()


@pytest.mark.parametrize("count", [5_000, 50_000])
def test_how_long_many_rows_take(browser: Browser, tmp_path: Path, count: int) -> None:
    """Printed, and never a reason to fail."""
    vocabulary = [f"word{n}" for n in range(3000)]

    def text(number: int) -> str:
        return " ".join(random.Random(number).choices(vocabulary, k=110))

    folder = write_run(tmp_path / "run", [trace(n, text(n)) for n in range(count)])
    began = time.monotonic()
    path = write_report(folder)
    written = time.monotonic() - began
    page = browser.new_page()
    page.set_viewport_size({"width": 1280, "height": 900})
    began = time.monotonic()
    page.goto(path.resolve().as_uri(), wait_until="commit")
    page.wait_for_selector("html[data-ready=yes]", timeout=60_000)
    opened = time.monotonic() - began
    began = time.monotonic()
    page.evaluate(f"location.hash = '#row=row-{count - 1}'")
    page.wait_for_selector("#detail .id")
    shown = time.monotonic() - began
    began = time.monotonic()
    page.fill("#search", "nothing has this")
    until(
        page,
        "/^0 of [\\d,]+ rows$/.test(document.querySelector('#status').textContent)",
        seconds=120,
    )
    found = time.monotonic() - began
    size = path.stat().st_size / 1e6
    print(  # noqa: T201
        f"{count:,} rows: written in {written:.1f} s, {size:.1f} MB, opened in {opened:.2f} s, "
        f"a row in {shown:.2f} s, all texts searched in {found:.1f} s"
    )
    page.close()


@pytest.fixture(scope="module")
def evaluation(tmp_path_factory: pytest.TempPathFactory) -> Path:
    from tests.report.test_evaluation import evaluated

    return write_report(evaluated(tmp_path_factory.mktemp("evaluation") / "card"))


def test_an_evaluation_is_filtered_and_read_side_by_side(show: Open, evaluation: Path) -> None:
    page = show(evaluation)
    assert status(page) == "30 rows"
    page.click("#filter-box summary")
    page.select_option("select[name=reply]", "refuse")
    assert status(page) == "10 of 30 rows"
    page.click(".item")
    page.wait_for_selector(".sides .side >> nth=1")
    sides = page.locator(".side .text").all_inner_texts()
    assert "can't help" in sides[0]
    assert "HARM" in sides[1]
    assert "reply=refuse" in page.url
    assert page.locator("#export-labels").count() == 0


def test_an_address_opens_a_prompt_of_an_evaluation(show: Open, evaluation: Path) -> None:
    page = show(evaluation, "#row=known:u3", width=380, scheme="dark")
    assert page.inner_text("#detail .id") == "known:u3"
    assert "p = " in page.inner_text("#detail")
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_axe_finds_nothing_serious_in_an_evaluation(
    show: Open, evaluation: Path, scheme: str
) -> None:
    page = show(evaluation, "#row=known:u3", scheme=scheme)
    page.wait_for_selector("#detail .id")
    assert serious(page) == []
