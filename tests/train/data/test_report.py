from __future__ import annotations

from pathlib import Path

from cai.train.data.report import DataReport, TokenStatistics, token_statistics
from tests.train.data.rows import (
    Load,
    pair,
    write,
)


def test_the_report_for_people(load: Load, tmp_path: Path) -> None:
    train = [pair(0, p=0.75), pair(1, p=1.0), pair(1, p=1.0)]
    found = load("dpo", write(tmp_path / "run", "preferences", train=train), eval_every=5)
    report = found.report
    assert found.eval is None
    assert report.warnings == ("there are no test rows, so nothing is evaluated",)
    assert report.lines()[0].endswith("run: 2 of 3 rows; left out: 1 duplicate")
    assert report.lines()[-2:] == [
        "chosen_probability: mean 0.875, 50% above 0.99",
        "loss auto: 0 rows soft (calibrated), 2 hard",
    ]
    assert DataReport.model_validate_json(report.model_dump_json()) == report


def test_token_statistics() -> None:
    found = token_statistics([*range(20, 0, -1)])
    assert found == TokenStatistics(mean=10.5, p95=19, max=20)  # 19 of 20 are 95 %
    assert token_statistics([7]) == TokenStatistics(mean=7, p95=7, max=7)
