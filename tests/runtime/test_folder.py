"""Who may use a folder, and what is left of one that comes to nothing."""

from __future__ import annotations

from pathlib import Path

import pytest

from cai.errors import CaiError
from cai.files import JOURNAL
from cai.runtime import tables
from cai.runtime.folder import has_journal, reading, working


def test_a_kill_while_the_journal_is_made_leaves_none(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "run"
    folder.mkdir()  # not new: nothing is cleaned up behind the kill

    def killed(new: Path, final: Path) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr(tables, "publish", killed)
        with pytest.raises(KeyboardInterrupt), working(folder):
            pass
    assert not has_journal(folder)
    assert sorted(p.name for p in folder.iterdir()) == [f".{JOURNAL}.new", ".lock"]
    with working(folder) as journal:  # the same command again
        journal.set_meta({"started": "now"})
    with reading(folder, "") as journal:
        assert journal.meta("started") == "now"
    assert not (folder / f".{JOURNAL}.new").exists()


def test_a_folder_of_other_things_is_refused_and_left_alone(tmp_path: Path) -> None:
    (tmp_path / "thesis.tex").write_text("x")
    with pytest.raises(CaiError, match=r"holds other files \(thesis.tex\)"), working(tmp_path):
        pass
    assert [p.name for p in tmp_path.iterdir()] == ["thesis.tex"]
    with pytest.raises(CaiError, match="a file, not a folder"), working(tmp_path / "thesis.tex"):
        pass
    with pytest.raises(CaiError, match="not a run folder\nGive one"), reading(tmp_path, "Give one"):
        pass


def test_a_new_folder_that_comes_to_nothing_goes_again(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="stop"), working(tmp_path / "new"):
        raise ValueError("stop")
    assert not (tmp_path / "new").exists()
    (tmp_path / "old").mkdir()
    with pytest.raises(ValueError, match="stop"), working(tmp_path / "old"):
        raise ValueError("stop")
    assert has_journal(tmp_path / "old")
