"""What labels follow, against the definitions written out."""

from __future__ import annotations

import itertools
import math
import random

import pytest

from cai.quality.labels import Preference, Principles, length_auc, likes
from cai.quality.labels_of_run import Labels

NOTHING = dict.fromkeys(("longer", "refusal", "apology", "first_person", "markdown"), False)


def auc_by_pairs(differences: list[float]) -> float:
    """Each pair once as it is and once swapped; the area by comparing all with all."""
    pairs = itertools.combinations(differences, 2)
    scores = [1.0 if a + b > 0 else 0.5 if a + b == 0 else 0.0 for a, b in pairs]
    return math.fsum(scores) / len(scores)


@pytest.mark.parametrize("seed", range(5))
def test_the_area_is_that_of_all_pairs(seed: int) -> None:
    rng = random.Random(seed)
    differences = [float(rng.randint(-4, 6)) for _ in range(60)]
    figure = length_auc(differences)
    assert figure.value == pytest.approx(auc_by_pairs(differences))
    swapped = length_auc([-d for d in differences])
    assert swapped.value == pytest.approx(1 - (figure.value or 0.0))


def test_the_area_knows_how_much_longer() -> None:
    assert length_auc([1.0] * 30).value == 1
    assert length_auc([-1.0] * 30).value == 0
    assert length_auc([1.0, -1.0] * 30).value == pytest.approx(0.5, abs=0.01)
    assert length_auc([100.0, -1.0] * 30).value == pytest.approx(0.75, abs=0.01)


def test_three_pairs_that_are_alike_are_not_sure() -> None:
    figure = length_auc([-5.0, -6.0, -7.0])
    assert figure.value == 0
    assert figure.high is not None
    assert figure.high > 0.5


def test_the_interval_of_the_area_covers_it() -> None:
    covered = 0
    truth = 0.5 * (1 + math.erf(1 / math.sqrt(2) / math.sqrt(2)))
    for seed in range(300):
        rng = random.Random(seed)
        figure = length_auc([rng.gauss(0.5, 1) for _ in range(100)])
        assert figure.low is not None
        assert figure.high is not None
        covered += figure.low <= truth <= figure.high
    assert covered >= 0.92 * 300


def test_a_trait_counts_where_just_one_text_has_it() -> None:
    preference = Preference()
    with_it = {**NOTHING, "apology": True}
    for _ in range(18):
        preference.add(with_it, NOTHING)
    for _ in range(2):
        preference.add(NOTHING, with_it)
    for _ in range(50):
        preference.add(with_it, with_it)
    figures = preference.figures()
    assert (figures["apology"].value, figures["apology"].n) == (0.9, 20)
    assert figures["markdown"].n == 0
    [line] = likes(figures)
    assert line.startswith("Of 20 pairs in which just one text opens with an apology")


def judgement(name: str, a_first: float, b_first: float) -> dict[str, object]:
    return {"principle_id": name, "q_ab": a_first, "q_ba": b_first}


def test_a_principle_against_all_others_and_one_that_goes_by_place_are_told() -> None:
    principles = Principles()
    for n in range(40):
        a, b = (0.9, 0.1) if n % 2 else (0.1, 0.9)
        principles.add(
            [
                judgement("kind", a, b),
                judgement("honest", a, b),
                judgement("contrary", b, a),
                judgement("first", 0.9, 0.89),
            ],
            (NOTHING, NOTHING),
        )
    rows = {row["id"]: row for row in principles.details()}
    assert rows["kind"]["odd"] is None
    assert rows["contrary"]["odd"] == "against all others"
    assert rows["contrary"]["kappa"] == pytest.approx(-1)
    assert rows["first"]["odd"].startswith("decides nothing")
    assert rows["first"]["decided"]["value"] == 0
    kappas = {tuple(row["between"]): row["kappa"] for row in principles.kappas()}
    assert kappas["honest", "kind"] == pytest.approx(1)
    assert kappas["contrary", "kind"] == pytest.approx(-1)


def test_a_tie_is_no_vote_although_tenths_do_not_add_up() -> None:
    assert 0.1 + 0.2 - 0.3 != 0
    principles = Principles()
    tied = [judgement("kind", 0.9, 0.1), judgement("a", 0.1, 0.2), judgement("b", 0.2, 0.1)]
    principles.add(tied, (NOTHING, NOTHING))
    principles.add([judgement("kind", 0.3, 0.1 + 0.2), *tied[1:]], (NOTHING, NOTHING))
    rows = {row["id"]: row for row in principles.details()}
    assert rows["kind"]["agreement"]["n"] == 0  # the others' sum is 0, and once its own too
    assert rows["a"]["agreement"] == {**rows["a"]["agreement"], "value": 0.0, "n": 2}


def test_labels_that_a_person_took_out_are_as_consistent_as_they_were() -> None:
    labels = Labels()
    pair = {"source": "sampled", "response_a": "Yes.", "response_b": "No.", "label_mass": 1.0}
    for a_first, b_first, dropped in [
        (0.9, 0.2, None),
        (0.9, 0.2, "dropped by review"),
        (0.9, 0.8, "dropped by review"),
        (0.6, 0.5, "inconsistent"),  # 0.6 - 0.5 and 0.6 + 0.5 - 1 are not the same in floats
    ]:
        judged = [judgement("kind", a_first, b_first)]
        p, gap = (1 + a_first - b_first) / 2, abs(a_first + b_first - 1)
        own = {"p_a": p, "order_gap": gap, "dropped": dropped, "judgements": judged}
        labels.add({"pairs": [{**pair, **own}]})
    figure = labels.figures()["consistent_share"]
    assert (figure.value, figure.n) == (0.5, 4)
