from collections import Counter
from dataclasses import replace
from typing import Any

import pytest
from tests.judge.people.studies import made, unit

from polymodal.judge.people import design as module
from polymodal.judge.people.design import Plan, PlanError, plan
from polymodal.judge.people.study import Study


def checked(study: Study, **how: Any) -> Plan:
    """A plan whose hard rules hold."""
    found = plan(study, **how)
    ratings = Counter(place.unit for seat in found.seats for place in seat.places if not place.repeat)
    assert set(ratings.values()) == {study.design.ratings_per_case}
    for seat in found.seats:
        items = [study.units[p.unit].item for p in seat.places if not p.repeat]
        assert len(set(items)) == len(items) <= study.design.cases_per_rater
        for page in {p.page for p in seat.places}:
            assert [p.position for p in seat.places if p.page == page] == list(
                range(sum(p.page == page for p in seat.places))
            )
    assert found.connected
    assert found.places == sum(ratings.values())
    return found


def test_seven_cases_by_three_make_the_fano_plane() -> None:
    found = checked(made(items=7, design={"ratings_per_case": 3, "cases_per_rater": 3}))
    assert len(found.seats) == 7
    assert (found.low, found.high) == (1, 1)
    assert round(found.efficiency, 4) == 0.7778


@pytest.mark.parametrize(
    ("items", "subjects", "ratings", "cases"),
    [(20, 3, 3, 10), (9, 2, 2, 5), (15, 4, 4, 12), (40, 1, 5, 8), (12, 5, 3, 12), (60, 4, 6, 60)],
)
def test_subjects_are_spread_within_one(items: int, subjects: int, ratings: int, cases: int) -> None:
    names = tuple(f"m{i}" for i in range(subjects))
    design = {"ratings_per_case": ratings, "cases_per_rater": cases}
    found = checked(made(items=items, subjects=names, design=design))
    assert found.spread <= 1
    sizes = [len(seat.places) for seat in found.seats]
    assert max(sizes) - min(sizes) <= 1


def test_concurrences_are_evener_than_by_chance_alone() -> None:
    found = checked(made(items=30, design={"ratings_per_case": 3, "cases_per_rater": 10}))
    assert found.high - found.low <= 3
    bound = 30 * 9 / (10 * 29)  # of a balanced design of that size, which none can pass
    assert 0.97 * bound <= found.efficiency <= bound + 1e-9


def test_the_seed_decides_and_nothing_else() -> None:
    study = made(items=12, design={"ratings_per_case": 2, "cases_per_rater": 6})
    assert plan(study, seed=1) == plan(study, seed=1)
    assert plan(study, seed=1) != plan(study, seed=2)
    assert plan(study) != plan(replace(study, seed=5))


def test_subjects_take_turns_over_positions() -> None:
    study = made(
        items=24, subjects=("a", "b", "c", "d"), design={"ratings_per_case": 2, "cases_per_rater": 8}
    )
    found = checked(study)
    first = Counter(study.units[seat.places[0].unit].subject for seat in found.seats)
    assert max(first.values()) - min(first.values()) <= 1
    after = Counter(
        (study.units[one.unit].subject, study.units[two.unit].subject)
        for seat in found.seats
        for one, two in zip(seat.places, seat.places[1:], strict=False)
    )
    among = [n for (one, two), n in after.items() if one != two]
    assert len(among) == 12
    assert max(among) <= 2 * min(among)


def test_strata_get_their_ratings() -> None:
    units = [unit(f"u{i}") for i in range(8)] + [unit("x", stratum="expert")]
    design = {"ratings_per_case": 3, "cases_per_rater": 9, "strata": {"expert": 1, "lay": 2}}
    study = made(units=units, design=design)
    found = checked(study)
    by = Counter((seat.stratum, place.unit == "x") for seat in found.seats for place in seat.places)
    assert by == {("expert", False): 8, ("lay", False): 16, ("expert", True): 3}


def test_sides_turn_from_rater_to_rater() -> None:
    sides = [{"subject": name, "messages": [{"role": "user", "parts": [name]}]} for name in ("one", "two")]
    units = [{"id": f"u{i}", "sides": sides} for i in range(6)]
    found = checked(made(units=units, design={"ratings_per_case": 4, "cases_per_rater": 6}))
    seen = Counter((place.unit, place.sides) for seat in found.seats for place in seat.places)
    assert set(seen.values()) == {2}


def test_repeats_come_late_and_count_for_nothing() -> None:
    design = {"ratings_per_case": 2, "cases_per_rater": 10, "repeats": 0.2}
    found = checked(made(items=10, design=design))
    for seat in found.seats:
        units = [place.unit for place in seat.places]
        again = [(place.position, units.index(place.unit)) for place in seat.places if place.repeat]
        assert len(again) == 2
        assert all(later > first for later, first in again)


def test_two_pages_share_raters_and_items_stay_apart() -> None:
    units = [unit(f"a{i}", item=f"i{i}", page="one") for i in range(6)]
    units += [unit(f"b{i}", item=f"i{i}", page="two") for i in range(6)]
    pages = [
        {"id": "one", "kind": "block", "rubric": "plain"},
        {"id": "two", "kind": "block", "rubric": "plain"},
    ]
    found = checked(made(units=units, pages=pages, design={"ratings_per_case": 2, "cases_per_rater": 4}))
    assert {place.page for seat in found.seats for place in seat.places} == {0, 1}


@pytest.mark.parametrize(
    ("ratings", "cases", "more", "what"),
    [
        (3, 4, {"raters": 4}, "raters 5, or cases_per_rater 5 is"),
        (7, 6, {"raters": 6}, "raters 7 is the smallest"),
        (1, 2, {}, "cases_per_rater 2 with ratings_per_case 2 is"),
        (3, 1, {}, "cases_per_rater 2 with ratings_per_case 3 is"),
    ],
)
def test_what_cannot_be_is_refused_with_what_can(
    ratings: int, cases: int, more: dict[str, Any], what: str
) -> None:
    design = {"ratings_per_case": ratings, "cases_per_rater": cases, **more}
    with pytest.raises(PlanError, match=what):
        plan(made(design=design))


def test_the_capacity_that_is_named_works_and_one_less_does_not() -> None:
    design = {"ratings_per_case": 2, "cases_per_rater": 1}
    with pytest.raises(PlanError, match="cases_per_rater 2 with ratings_per_case 2"):
        plan(made(items=9, design=design))
    checked(made(items=9, design={**design, "cases_per_rater": 2}))


def test_strata_without_a_shared_case_cannot_be_linked() -> None:
    units = [unit(f"u{i}", stratum="ab"[i % 2]) for i in range(4)]
    design = {"ratings_per_case": 2, "cases_per_rater": 2, "strata": {"a": 1, "b": 1}}
    with pytest.raises(PlanError, match="a link between the strata"):
        plan(made(units=units, design=design))


def test_a_study_without_cases_needs_no_plan() -> None:
    pages = [{"kind": "instrument", "rubric": "plain"}]
    assert plan(made(units=[], pages=pages)).seats == ()


def test_large_studies_are_dealt_out_without_pairs(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "LARGE", 20)
    found = checked(made(items=60, subjects=("a", "b"), design={"ratings_per_case": 2, "cases_per_rater": 9}))
    assert found.efficiency != found.efficiency  # not computed at that size
    assert found.spread <= 1
