"""The benchmarks run, and what they say of a killed run is what we promise."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

BENCHMARKS = Path(__file__).parents[1] / "benchmarks"


def test_a_run_on_a_server_is_killed_and_goes_on(tmp_path: Path) -> None:
    slots, rows = 8, 80
    command = [sys.executable, str(BENCHMARKS / "servers.py"), "busy", "kill"]
    command += ["--rows", "40", "--draws", "1", "--kill-rows", str(rows), "--slots", str(slots)]
    subprocess.run([*command, "--json", str(tmp_path / "found.json")], check=True)
    found = {
        (one["part"], one["what"]): one for one in json.loads((tmp_path / "found.json").read_text())
    }
    killed = found["kill", "cai"]
    assert killed["rows"] == f"{rows} of {rows}"
    assert killed["doubled"] == 0
    # At most what was sent and not committed: the server's first guess of slots is 64.
    assert 0 <= killed["again"] <= 64
    assert 0 < found["busy", "cai, as it comes"]["busy"] <= 1
    assert 0 < found["busy", "barriers between steps"]["busy"] <= 1
