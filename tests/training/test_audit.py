"""The audit: each planted leak raises exactly its finding, the clean twin none, over a hundred sets each."""

from collections import Counter
from dataclasses import replace
from functools import cache

import numpy as np
import pytest
from polymodal.media import Series
from polymodal.training import grouped
from polymodal.training.association import outcome
from polymodal.training.audit import audit, leak_gap
from polymodal.training.columns import group_codes
from tests.training import planted
from tests.training.planted import Plant, World, small

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
    return small(seed, groups=12, each=8, text=text)


@pytest.mark.parametrize("name", [name for name in PLANTS if name != "class shares"])
def test_planted_leak_is_found_in_95_of_100_sets(name: str) -> None:
    kind, _, plant = PLANTS[name]
    text = name in ("near text", "shared part")
    hits = [kind in kinds(plant(drawn(seed, text), np.random.default_rng(seed))) for seed in range(SETS)]
    assert sum(hits) >= 0.95 * SETS


def test_clean_twins_are_quiet_in_95_of_100_sets_for_every_check() -> None:
    alarms = Counter[str]()
    for seed in range(SETS):
        alarms.update(set(kinds(small(seed, text=True), costly=True, seed=seed)))
    assert all(count <= 0.05 * SETS for count in alarms.values()), alarms


def test_leak_gap_is_found_in_95_of_100_sets() -> None:
    hits = 0
    for seed in range(SETS):
        world = small(seed, groups=16, each=10, k=4, signal=0, offset=3, favour=0.75)
        hits += "leak gap" in kinds(world, costly=True, seed=seed)
    assert hits >= 0.95 * SETS


def test_features_that_saw_the_labels_are_found_in_95_of_100_sets() -> None:
    hits = 0
    for seed in range(SETS):
        world = planted.saw_labels(small(seed), np.random.default_rng(seed))
        found = audit(world.samples, world.split, seed=seed, fitted=world.fitted, trees=1)
        hits += "saw labels" in [finding.kind for finding in found]
    assert hits >= 0.95 * SETS
