from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from xml.etree import ElementTree

import pytest

from cai.calibration import Bin
from cai.plots import reliability_diagram

BINS = [
    Bin(confidence=0.5, accuracy=0.5, count=3),
    Bin(confidence=0.7, accuracy=0.0, count=1),
    Bin(confidence=0.9, accuracy=2 / 3, count=27),
    Bin(confidence=0.99, accuracy=1.0, count=50),
    Bin(confidence=1.0, accuracy=1.0, count=50),
]


def texts(svg: Path) -> list[str]:
    root = ElementTree.fromstring(svg.read_bytes())
    return ["".join(e.itertext()) for e in root.iter("{http://www.w3.org/2000/svg}text")]


def test_both_files_are_whole(tmp_path: Path) -> None:
    written = reliability_diagram(BINS, tmp_path / "judge.v1", "Judge", "131 pairs")
    assert written == [tmp_path / "judge.v1.png", tmp_path / "judge.v1.svg"]
    assert sorted(tmp_path.iterdir()) == written
    png = written[0].read_bytes()
    assert png.startswith(b"\x89PNG\r\n\x1a\n")
    assert png.endswith(b"IEND\xaeB`\x82")
    said = texts(written[1])
    assert {"Judge", "131 pairs", "3", "1", "27", "50"} <= set(said)
    assert said.count("50") == 2
    assert "no labels" not in said


def test_same_input_same_bytes_and_no_version(tmp_path: Path) -> None:
    first = reliability_diagram(BINS, tmp_path / "a", "Judge")
    second = reliability_diagram(BINS, tmp_path / "b", "Judge")
    for one, other in zip(first, second, strict=True):
        assert one.read_bytes() == other.read_bytes()
        assert b"Matplotlib v" not in one.read_bytes()
        assert b"matplotlib.org" not in one.read_bytes()
        assert b"dc:date" not in one.read_bytes()


@pytest.mark.parametrize(
    "title", ["$x_1$ <b>", "$\\frac{$ & ]]> --", "日本 \U0001f600", "100 % of {0}", ""]
)
def test_a_title_is_plain_text(tmp_path: Path, title: str) -> None:
    _, svg = reliability_diagram(BINS, tmp_path / "a", title, title)
    assert texts(svg).count(title) == (2 if title else 0)


def test_a_title_that_is_long_or_has_control_characters(tmp_path: Path) -> None:
    title = "many words " * 12 + "and a \x00 zero, \x1b[0m, a \ud800 surrogate,\nand a line"
    _, svg = reliability_diagram(BINS, tmp_path / "a", title)
    said = texts(svg)
    assert "many words many words many words many words many" in said
    assert "and a line" in " ".join(said)


def test_no_bins(tmp_path: Path) -> None:
    png, svg = reliability_diagram([], tmp_path / "a", "Judge")
    assert png.stat().st_size > 0
    assert "no labels" in texts(svg)


def test_the_settings_of_others_neither_count_nor_change(tmp_path: Path) -> None:
    import matplotlib

    plain = reliability_diagram(BINS, tmp_path / "a", "Judge")
    with matplotlib.rc_context({"font.size": 30.0, "text.usetex": True}):
        styled = reliability_diagram(BINS, tmp_path / "b", "Judge")
        assert matplotlib.rcParams["font.size"] == 30
        assert matplotlib.rcParams["text.usetex"]
    assert [p.read_bytes() for p in plain] == [p.read_bytes() for p in styled]


def test_matplotlib_waits_for_a_figure_and_pyplot_never_comes(tmp_path: Path) -> None:
    code = (
        "import sys\nfrom pathlib import Path\nfrom cai.plots import reliability_diagram\n"
        "assert 'matplotlib' not in sys.modules\n"
        f"reliability_diagram([], Path({str(tmp_path / 'a')!r}), 'Judge')\n"
        "assert 'matplotlib.pyplot' not in sys.modules\n"
    )
    subprocess.run([sys.executable, "-W", "error", "-c", code], check=True, timeout=60)
