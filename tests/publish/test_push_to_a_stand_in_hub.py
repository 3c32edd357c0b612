"""Pushing to a stand-in of the Hub: one commit, none for the same content, every fault by name."""

from __future__ import annotations

import io
import json
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from cai.dataset.schema import PREFERENCES
from cai.errors import CaiError
from cai.publish import refusals
from cai.publish.content import Choice
from cai.publish.history import pushes
from cai.publish.push import Order, Pushed, push
from cai.report.page import write_report
from tests.publish.stand_in_hub import TOKEN, Fault, StandInHub
from tests.report.helpers import inflated

REPO = "me/data"
# huggingface_hub sends files in a way that its client does not like any more.
pytestmark = pytest.mark.filterwarnings("ignore:Use 'content=:DeprecationWarning")


@pytest.fixture(autouse=True)
def _no_waiting(monkeypatch: pytest.MonkeyPatch) -> None:
    """Pauses take no time."""
    monkeypatch.setattr(refusals.time, "sleep", lambda seconds: None)


def sent(run: Path, *, order: Order | None = None, **choice: object) -> Pushed:
    return push(run, Choice(REPO, **choice), order)  # type: ignore[arg-type]


def names(hub: StandInHub, branch: str = "main") -> set[str]:
    return set(hub.repo(REPO).branches[branch].files) - {".gitattributes"}


def test_a_run_is_one_commit_and_the_same_again_is_none(hub: StandInHub, run: Path) -> None:
    pushed = sent(run)
    repo = hub.repo(REPO)
    assert repo.private
    assert not pushed.public
    assert len(repo.commits) == 2  # the first is the Hub's own
    assert pushed.commit == repo.commits[-1].oid
    assert names(hub) == {
        *("README.md", "constitution.yaml", "croissant.json", "manifest.json", "quality.json"),
        *("preferences/train.parquet", "sft/train.parquet"),
    }
    again = sent(run)
    assert again.commit == pushed.commit
    assert again.sent == ()
    assert len(repo.commits) == 2
    [record] = pushes(run)
    assert (record.repo, record.commit, record.revision) == (REPO, pushed.commit, "main")
    everything = (run / "pushes.jsonl").read_text() + str(hub.contents)
    assert TOKEN not in everything


def test_a_change_is_one_more_commit_of_what_differs(hub: StandInHub, run: Path) -> None:
    sent(run, include=("traces", "failures"))
    assert {"traces/train.parquet", "failures.jsonl"} <= names(hub)
    hub.write(hub.repo(REPO), "main", "a note", {"NOTES.md": b"mine"})
    pushed = sent(run, licence="mit")
    assert set(pushed.sent) == {"README.md", "croissant.json", "manifest.json"}
    assert set(pushed.removed) == {"traces/train.parquet", "failures.jsonl"}
    assert "NOTES.md" in names(hub)
    assert len(hub.repo(REPO).commits) == 4


def test_a_branch_and_a_tag(hub: StandInHub, run: Path) -> None:
    pushed = sent(run, order=Order(revision="next", tag="v1", message="Second try"))
    repo = hub.repo(REPO)
    assert names(hub, "main") == set()
    assert repo.tags == {"v1": pushed.commit}
    assert repo.commits[-1].message == "Second try"
    assert sent(run, order=Order(revision="next", tag="v1")).sent == ()
    with pytest.raises(CaiError, match="the tag v1 belongs to"):
        sent(run, order=Order(revision="next", tag="v1"), licence="mit")


def test_rows_that_are_left_out_are_in_no_file(hub: StandInHub, run: Path) -> None:
    prompt = "c2b4eb703a59f9d6"
    sent(run, without=(prompt,), include=("traces", "failures"))
    files = hub.repo(REPO).branches["main"].files
    for name, (_, oid) in files.items():
        if name.endswith(".parquet"):
            ids = pq.read_table(io.BytesIO(hub.contents[oid])).column("id").to_pylist()
            assert prompt not in {row_id.partition("#")[0] for row_id in ids}
        else:
            assert prompt.encode() not in hub.contents[oid]
    card = hub.contents[files["README.md"][1]].decode()
    assert "all rows of 1 prompts" in card
    assert "| 8 | 0 |" in card
    manifest = json.loads(hub.contents[files["manifest.json"][1]])
    assert manifest["counts"]["sft.train"] == 8
    [record] = pushes(run)
    assert record.without == (prompt,)
    with pytest.raises(CaiError, match="no row has the id nobody"):
        sent(run, without=("nobody",))


# --- who may read it ---


def test_a_public_repository_is_asked_for_and_not_assumed(hub: StandInHub, run: Path) -> None:
    sent(run, order=Order(public=True))
    assert not hub.repo(REPO).private
    with pytest.raises(CaiError, match="the repository is public, and --private is for new ones"):
        sent(run, order=Order(public=False))
    assert sent(run).public
    with pytest.raises(CaiError, match=r"me/data is public: traces/train\.parquet hold"):
        sent(run, include=("traces",))
    sent(run, include=("traces",), order=Order(yes=True))


def test_rejected_texts_of_red_team_pairs_want_a_yes(hub: StandInHub, run: Path) -> None:
    path = run / "preferences" / "train.parquet"
    rows = pq.read_table(path).to_pylist()
    rows[0]["prompt_kind"] = "red-team"
    pq.write_table(pa.Table.from_pylist(rows, schema=PREFERENCES), path)
    sent(run)  # to a private one, as before
    hub.repo(REPO).private = False
    with pytest.raises(CaiError, match="me/data is public: 1 of 3 preferences come from prompts"):
        sent(run, licence="mit")
    assert len(hub.repo(REPO).commits) == 2
    assert sent(run, licence="mit", order=Order(yes=True)).public


def page(folder: Path, out: Path) -> Path:
    return write_report(folder, out=out, chains=False)


def test_measures_and_page_are_of_the_rows_that_are_sent(hub: StandInHub, run: Path) -> None:
    prompt = "c2b4eb703a59f9d6"
    measured = json.loads((run / "quality.json").read_text())
    (run / "quality.json").write_text(json.dumps({**measured, "judge_check": {"scored": 20}}))
    push(run, Choice(REPO, include=("traces",)), report=page)
    whole = {name: content(hub, name) for name in ("quality.json", "report.html", "manifest.json")}
    choice = Choice(REPO, include=("traces",), without=(prompt,))
    push(run, choice, report=page)
    quality = json.loads(content(hub, "quality.json"))
    assert quality["rows"] == {"sft": 8, "preferences": 3}
    assert quality["boilerplate_share"]["n"] == 8
    assert json.loads(whole["quality.json"])["boilerplate_share"]["n"] == 9
    assert quality["data"] == "run"
    assert quality["judge_check"] == {"scored": 20}  # of the judge, whatever the rows
    manifests = json.loads(whole["manifest.json"]), json.loads(content(hub, "manifest.json"))
    rows = [manifest["prompts"]["rows"] for manifest in manifests]
    assert rows[1] == rows[0] - 1
    assert "Of the whole run but the prompts that are left out" in content(hub, "README.md")
    shown = inflated(content(hub, "report.html"))
    assert any(prompt in text for text in inflated(whole["report.html"]).values())
    assert not any(prompt in text for text in shown.values())
    assert json.loads(shown["meta"])["chains"] is False
    assert push(run, choice, report=page).sent == ()  # the same bytes, whatever folder they lay in
    (run / "quality.json").unlink()
    push(run, choice, report=page)
    assert "quality.json" not in names(hub)
    assert "Measure it: cai quality run." in content(hub, "report.html")
    assert push(run, choice, report=page).sent == ()


def content(hub: StandInHub, name: str) -> str:
    return hub.contents[hub.repo(REPO).branches["main"].files[name][1]].decode()


# --- faults ---


def refused(run: Path, **order: object) -> CaiError:
    with pytest.raises(CaiError) as caught:
        sent(run, order=Order(**order))  # type: ignore[arg-type]
    assert TOKEN not in str(caught.value)
    assert pushes(run) == []
    return caught.value


def test_without_a_token(hub: StandInHub, run: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_TOKEN", "")
    monkeypatch.setattr("huggingface_hub.constants.HF_TOKEN_PATH", "nowhere")
    assert "no token of the Hub" in refused(run).message
    assert not hub.calls


def test_offline(run: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_TOKEN", TOKEN)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    assert "HF_HUB_OFFLINE is set" in refused(run).message


def test_401_a_token_that_is_not_known(
    hub: StandInHub, run: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HF_TOKEN", "hf_" + "wrong" * 6)
    error = refused(run)
    assert "401: the Hub does not know the token" in error.message
    assert "hf auth login" in error.hint


def test_403_no_right_to_write(hub: StandInHub, run: Path) -> None:
    body = {"error": "You don't have the rights to create a dataset under this namespace"}
    hub.fault("create", Fault(403, body=body))
    error = refused(run)
    assert "403: the token may not write there" in error.message
    hub.make(REPO)
    hub.fault("commit", Fault(403))
    assert "403: the token may not write there" in refused(run).message
    assert len(hub.repo(REPO).commits) == 1


def test_403_gated(hub: StandInHub, run: Path) -> None:
    headers = {"X-Error-Code": "GatedRepo", "X-Error-Message": "Access is restricted"}
    hub.fault("info", Fault(403, headers))
    assert "403: the repository is gated" in refused(run).message


def test_404_the_repository_goes_while_files_are_sent(hub: StandInHub, run: Path) -> None:
    headers = {"X-Error-Code": "RepoNotFound", "X-Error-Message": "Repository not found"}
    hub.fault("commit", Fault(404, headers))
    assert "404: there is no such repository" in refused(run).message


def test_409_another_change_at_the_same_time(hub: StandInHub, run: Path) -> None:
    hub.make(REPO)
    hub.fault("commit", Fault(409))
    assert "409: the Hub is busy with another change" in refused(run).message


def test_409_the_repository_is_made_in_between(hub: StandInHub, run: Path) -> None:
    hub.fault("create", Fault(action=lambda: None or (hub.make(REPO) and None)))
    assert len(sent(run).sent) == 7
    assert len(hub.repo(REPO).commits) == 2


def test_412_somebody_pushes_in_between(hub: StandInHub, run: Path) -> None:
    repo = hub.make(REPO)

    def other() -> None:
        hub.write(repo, "main", "theirs", {"sft/extra.jsonl": b"{}", "README.md": b"theirs"})

    hub.fault("commit", Fault(action=other))
    error = refused(run)
    assert "412: somebody wrote to main in between" in error.message
    assert "changed: README.md, sft/extra.jsonl" in error.message
    assert [commit.message for commit in repo.commits] == ["initial commit", "theirs"]
    assert len(sent(run).sent) == 7
    assert len(repo.commits) == 3


def test_413_too_large(hub: StandInHub, run: Path) -> None:
    hub.fault("commit", Fault(413))
    assert "413: a file is too large for the Hub" in refused(run).message


def test_429_is_waited_for_as_long_as_the_hub_says(
    hub: StandInHub, run: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    waits: list[float] = []
    monkeypatch.setattr(refusals.time, "sleep", waits.append)
    hub.make(REPO)
    hub.fault("info", Fault(429, {"Retry-After": "3"}))
    hub.fault("commit", Fault(429, {"Retry-After": "7"}))
    sent(run)
    assert waits == [3.0, 7.0]
    assert len(hub.repo(REPO).commits) == 2


def test_429_for_longer_than_anybody_waits_is_told(hub: StandInHub, run: Path) -> None:
    hub.make(REPO)
    hub.fault("commit", Fault(429, {"Retry-After": "3600"}))
    error = refused(run)
    assert "429: the Hub takes no more requests for now" in error.message
    assert "in 3,600 s" in error.hint


def test_the_connection_breaks_before_anything_is_asked(hub: StandInHub, run: Path) -> None:
    hub.fault("info", Fault())
    assert len(sent(run).sent) == 7
    hub.fault("info", Fault(), Fault(), Fault())
    with pytest.raises(CaiError, match="the connection to the Hub broke"):
        sent(run)


def test_the_connection_breaks_while_a_file_is_sent(hub: StandInHub, run: Path) -> None:
    hub.fault("part", Fault())
    sent(run)
    assert len(hub.repo(REPO).commits) == 2


def test_the_connection_breaks_before_the_commit_is_made(hub: StandInHub, run: Path) -> None:
    hub.fault("commit", Fault())
    sent(run)
    assert len(hub.repo(REPO).commits) == 2


def test_the_connection_breaks_after_the_commit_was_made(hub: StandInHub, run: Path) -> None:
    hub.fault("commit", Fault(when="after"))
    pushed = sent(run)
    assert len(hub.repo(REPO).commits) == 2
    assert pushed.commit == hub.repo(REPO).commits[-1].oid
    assert [record.commit for record in pushes(run)] == [pushed.commit]


def test_500_after_the_commit_was_made(hub: StandInHub, run: Path) -> None:
    hub.fault("commit", Fault(500, when="after"))
    sent(run)
    assert len(hub.repo(REPO).commits) == 2


def test_a_header_that_the_hub_does_not_take(hub: StandInHub, run: Path) -> None:
    hub.fault("validate", Fault(400, body={"errors": [{"message": '"license" is unknown'}]}))
    assert '"license" is unknown' in refused(run).message
