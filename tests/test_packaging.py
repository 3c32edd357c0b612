from __future__ import annotations

import subprocess
import sys
import zipfile
from pathlib import Path

ROOT = Path(__file__).parent.parent


def test_constitutions_seeds_and_templates_travel_in_the_wheel(tmp_path: Path) -> None:
    """Built, unpacked and run from there: the shipped files are found without the checkout."""
    build = [sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps"]
    build += ["--no-build-isolation", "--wheel-dir", str(tmp_path), str(ROOT)]
    subprocess.run(build, check=True, capture_output=True)
    (wheel,) = tmp_path.glob("*.whl")
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(tmp_path / "site")
    code = (
        "import sys; sys.path.insert(0, sys.argv[1])\n"
        "import cai; assert cai.__file__.startswith(sys.argv[1]), cai.__file__\n"
        "run = cai.generate(model='scripted', limit=6, out='run')\n"
        "from cai.report.page import write_report; write_report('run')\n"
        "print(run.manifest.counts['traces.train'])"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, str(tmp_path / "site")],
        capture_output=True,
        text=True,
        check=False,
        cwd=tmp_path,
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip() == "6"
