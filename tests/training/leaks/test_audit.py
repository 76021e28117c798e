"""The audit: each planted leak raises exactly its finding, the clean twin none, over a hundred sets each."""

import time
from collections import Counter
from dataclasses import replace
from functools import cache
from typing import Any

import numpy as np
import pytest
from tests.training import planted
from tests.training.planted import Plant, World, small

from polymodal.media import Series
from polymodal.training import grouped
from polymodal.training.leaks.audit import _error, audit, leak_gap

SETS = 100
TREES = 8
PLANTS: dict[str, tuple[str, str, Plant]] = {
    "crossing group": ("crossing group", "error", planted.crossing_group),
    "duplicate": ("duplicate", "error", planted.duplicate),
    "shared part": ("shared part", "error", planted.shared_part),
    "conflicting targets": ("conflicting targets", "warning", planted.conflicting_targets),
    "near text": ("near-duplicate", "warning", planted.near_text),
    "near vector": ("near-duplicate", "warning", planted.near_vector),
    "overlap": ("overlap", "error", planted.overlap),
    "label column": ("label column", "error", planted.label_column),
    "scaler fitted on all": ("fitted outside train", "error", planted.scaler_on_all),
    "ids in class order": ("label in order", "warning", planted.ids_in_class_order),
    "label in name": ("label in name", "warning", planted.label_in_name),
    "label in tag": ("label in tag", "warning", planted.label_in_tag),
    "class shares": ("class shares", "note", planted.class_shares),
}


def kinds(world: World, *, costly: bool = False, seed: int = 0) -> list[str]:
    found = audit(world.samples, world.split, seed=seed, fitted=world.fitted, costly=costly, trees=TREES)
    return [finding.kind for finding in found]


@pytest.mark.parametrize("name", PLANTS)
def test_planted_leak_raises_exactly_its_finding(name: str) -> None:
    kind, severity, plant = PLANTS[name]
    world = plant(small(5, each=20, text=True), np.random.default_rng(5))
    found = audit(world.samples, world.split, seed=5, fitted=world.fitted, trees=TREES)
    assert [(finding.kind, finding.severity) for finding in found] == [(kind, severity)]
    assert found[0].n >= 1
    assert all(found[0].evidence)


@cache
def drawn(seed: int, text: bool) -> World:
    return small(seed, groups=10, each=6, text=text)


@pytest.mark.usefixtures("untraced")
@pytest.mark.parametrize("name", [name for name in PLANTS if name != "class shares"])
def test_planted_leak_is_found_in_95_of_100_sets(name: str) -> None:
    kind, _, plant = PLANTS[name]
    text = name in ("near text", "shared part")
    hits = [kind in kinds(plant(drawn(seed, text), np.random.default_rng(seed))) for seed in range(SETS)]
    assert sum(hits) >= 0.95 * SETS


@pytest.mark.usefixtures("untraced")
@pytest.mark.parametrize(
    ("trees", "options"),
    [
        (0, {"groups": 10, "each": 6, "text": True}),  # the twin of the planted worlds above
        (3, {"groups": 16, "each": 8, "k": 4, "signal": 0, "offset": 4}),  # speakers, but no favourites
        (
            1,
            {"groups": 16, "each": 4, "dim": 80, "signal": 0},
        ),  # train is fitted perfectly, test is chance
    ],
)
def test_clean_twins_are_quiet_in_95_of_100_sets_for_every_check(trees: int, options: dict[str, Any]) -> None:
    alarms = Counter[str]()
    for seed in range(SETS):
        world = small(seed, **options)
        found = audit(
            world.samples, world.split, seed=seed, fitted=world.fitted, costly=trees > 0, trees=trees
        )
        alarms.update({finding.kind for finding in found})
    assert all(count <= 0.05 * SETS for count in alarms.values()), alarms


@pytest.mark.usefixtures("untraced")
def test_leak_gap_is_found_in_95_of_100_sets() -> None:
    hits = 0
    for seed in range(SETS):
        world = small(seed, groups=16, each=8, k=4, signal=0, offset=4, favour=0.85)
        found = audit(world.samples, world.split, seed=seed, fitted=world.fitted, trees=4)
        hits += "leak gap" in [finding.kind for finding in found]
    assert hits >= 0.95 * SETS


@pytest.mark.usefixtures("untraced")
def test_features_that_saw_the_labels_are_found_in_95_of_100_sets() -> None:
    hits = 0
    for seed in range(SETS):
        world = planted.saw_labels(small(seed), np.random.default_rng(seed))
        found = audit(world.samples, world.split, seed=seed, fitted=world.fitted, trees=1)
        hits += "saw labels" in [finding.kind for finding in found]
    assert hits >= 0.95 * SETS


def test_leak_world_raises_leak_gap_and_nothing_else() -> None:
    world = small(3, groups=24, each=10, k=6, signal=0, offset=2, favour=0.6)
    found = audit(world.samples, world.split, seed=3, fitted=world.fitted)
    assert [(finding.kind, finding.severity, finding.where) for finding in found] == [
        ("leak gap", "warning", "audio")
    ]
    assert "random folds" in found[0].evidence[0]


def test_same_seed_gives_the_same_findings() -> None:
    world = planted.label_column(
        planted.near_vector(small(2), np.random.default_rng(2)), np.random.default_rng(2)
    )
    first = audit(world.samples, world.split, seed=4, trees=4)
    assert first == audit(world.samples, world.split, seed=4, trees=4)
    assert {"label column"} <= {finding.kind for finding in first}


def test_scores_are_audited_by_quintile() -> None:
    world, rng = small(1, groups=24), np.random.default_rng(1)
    score = rng.normal(size=len(world.samples))
    samples = [replace(s, target=float(y)) for s, y in zip(world.samples, score, strict=True)]
    clean = replace(world, samples=samples)
    assert kinds(clean, costly=True) == []
    x = rng.normal(size=(len(score), 3))
    x[:, 1] = score + rng.normal(0, 1e-3, len(score))
    assert kinds(planted.with_vectors(clean, x)) == ["label column"]
    order = np.argsort(np.argsort(score))
    named = [replace(s, id=f"u{place:04d}") for s, place in zip(samples, order, strict=True)]
    assert kinds(replace(clean, samples=named, fitted={})) == ["label in order"]


def test_without_groups_the_gap_is_not_measured_and_says_so() -> None:
    world = small(1)
    samples = [replace(sample, group=None) for sample in world.samples]
    found = audit(samples, grouped(samples, seed=1), seed=1, trees=2)
    assert [(finding.kind, finding.severity, finding.where) for finding in found] == [
        ("not checked", "note", "leak gap")
    ]


def test_groups_of_one_class_that_no_fold_can_train_without_are_said() -> None:
    world = small(1, groups=4, each=20, k=2)
    samples = [replace(s, target="c" if s.group == "g00" else s.target) for s in world.samples]
    split = replace(world.split, train=tuple(range(60)), val=(), test=tuple(range(60, 80)))
    found = audit(samples, split, seed=1, trees=2)
    assert "train has no row of class 'c'" in next(f for f in found if f.kind == "not checked").evidence[0]


def test_statistics_fitted_elsewhere_are_named() -> None:
    world = small(1)
    sides = world.split
    fitted = {
        "good": planted.seen(world.samples, sides.train),
        "wide": planted.seen(world.samples, [*sides.train, *sides.val]),
        "odd": planted.seen(world.samples, sides.train[:-1]),
    }
    found = audit(world.samples, sides, seed=0, fitted=fitted, costly=False)
    assert [(finding.where, finding.evidence) for finding in found] == [
        ("wide", ("saw train + val, not train",)),
        ("odd", ("saw other rows, not train",)),
    ]


def test_vectors_may_be_given_and_have_absent_rows() -> None:
    world = small(1)
    n = len(world.samples)
    x = np.random.default_rng(0).normal(size=(n, 4))
    x[::3] = np.nan
    x[1, 2] = np.inf
    assert audit(world.samples, world.split, {"face": x}, seed=0, trees=2) == []
    with pytest.raises(ValueError, match=r"'face' are \(3, 4\), expected \(160, d\)"):
        audit(world.samples, world.split, {"face": x[:3]}, seed=0)


def test_rows_on_no_side_are_not_looked_at() -> None:
    world = planted.duplicate(small(1), np.random.default_rng(1))
    split = replace(world.split, test=())
    assert kinds(replace(world, split=split)) == []


def test_absence_of_a_part_that_gives_the_label() -> None:
    world = small(1)
    samples = [s if s.target == "a" else replace(s, parts={"audio": s.parts["audio"]}) for s in world.samples]
    samples = [
        replace(s, parts={**s.parts, "face": Series(np.random.default_rng(i).normal(size=3))})
        if s.target == "a"
        else s
        for i, s in enumerate(samples)
    ]
    found = audit(samples, world.split, seed=1, costly=False)
    assert [(finding.kind, finding.where) for finding in found] == [("label column", "face")]
    assert found[0].evidence[0].startswith("presence")


def test_gap_of_features_that_know_only_the_group_by_hand() -> None:
    """Two groups of one class each: random folds are right always, grouped folds never."""
    groups = np.repeat([0, 1], 20)
    x = groups[:, None] * 1.0
    rows = np.arange(40)
    random = [(rows[rows % 2 != i], rows[rows % 2 == i]) for i in range(2)]
    whole = [(rows[groups != i], rows[groups == i]) for i in range(2)]
    assert leak_gap(x, groups, groups, random, whole, seed=0, trees=3) == (1.0, 0.0, 0.0)


def test_clustered_error_is_that_of_a_cluster_robust_regression() -> None:
    statsmodels = pytest.importorskip("statsmodels.api")
    rng = np.random.default_rng(0)
    groups = rng.integers(9, size=200)
    values = rng.normal(size=200) + rng.normal(size=9)[groups]
    fit = statsmodels.OLS(values, np.ones(200)).fit(
        cov_type="cluster", cov_kwds={"groups": groups, "use_correction": False}
    )
    assert _error(values, groups) == pytest.approx(fit.bse[0] * np.sqrt(9 / 8), rel=1e-9)


def test_size_of_the_real_thing_stays_within_reach() -> None:
    """1,000 samples, two parts; the bound is generous, the machine may be busy."""
    world = small(0, groups=50, each=20, dim=24)
    vectors = {name: planted.matrix(world.samples) for name in ("text", "audio")}
    begun = time.process_time()
    audit(world.samples, world.split, vectors, seed=0, trees=5)
    assert time.process_time() - begun < 15
