"""Model calls per row of each preset, on the shipped prompts, by the scripted model.

python benchmarks/calls.py [PRESET …]
"""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path
from typing import get_args

import cai
from cai.presets import Preset


def main() -> None:
    for preset in sys.argv[1:] or get_args(Preset):
        with tempfile.TemporaryDirectory() as folder:
            run = cai.generate(model="scripted", preset=preset, out=Path(folder) / "run")
            manifest = run.manifest
        rows, made = manifest.prompts["rows"], manifest.calls["made"]
        print(f"{preset}: {made:,} calls for {rows:,} rows, {made / rows:.1f} a row")


if __name__ == "__main__":
    main()
