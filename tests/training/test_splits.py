"""Splits: whole groups, class shares, errors that name the number, speed."""

import subprocess
import sys
import time
from collections import Counter
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, reject, settings
from hypothesis import strategies as st
from tests.training.worlds import bare, speakers

from polymodal.media import Sample
from polymodal.testing import check_split
from polymodal.training import (
    Split,
    fingerprint,
    folds,
    grouped,
    leave_one_group_out,
    nested,
    official,
    random_folds,
    stratified,
)


def groups_of(samples: list[Sample], rows: tuple[int, ...]) -> set[str | None]:
    return {samples[row].group for row in rows}


@pytest.mark.parametrize("seed", range(5))
def test_grouped_meets_shares_of_equal_groups_exactly(seed: int) -> None:
    samples = speakers(98, 40, k=6, seed=seed)
    split = grouped(samples, (36, 12, 50), seed=seed)
    check_split(split, samples)
    assert [len(groups_of(samples, side)) for side in (split.train, split.val, split.test)] == [36, 12, 50]


def test_grouped_balances_every_class_not_only_the_size() -> None:
    rng = np.random.default_rng(0)
    liking = [rng.dirichlet([0.3] * 4) for _ in range(60)]
    sizes = rng.integers(5, 60, 60)
    rows = [(f"g{g}", f"c{rng.choice(4, p=liking[g])}") for g in range(60) for _ in range(sizes[g])]
    samples = bare([g for g, _ in rows], [c for _, c in rows])
    split = grouped(samples, seed=0)
    check_split(split, samples)
    whole = Counter(c for _, c in rows)
    for side, share in ((split.train, 0.6), (split.val, 0.2), (split.test, 0.2)):
        found = Counter(samples[row].target for row in side)
        for name, n in whole.items():
            assert found[name] / n == pytest.approx(share, abs=0.05)


def test_grouped_by_hand() -> None:
    # Wanted 6, 2, 2. a (4) to train, which then lacks 2 like the others; b (3) to the first of equals;
    # c (2) to val, the first that lacks 2; d to test.
    samples = bare(list("aaaabbbccd"), ["x"] * 10)
    split = grouped(samples, (0.6, 0.2, 0.2), seed=0)
    sides = (split.train, split.val, split.test)
    assert [groups_of(samples, side) for side in sides] == [{"a", "b"}, {"c"}, {"d"}]


def test_no_side_stays_empty_and_a_zero_share_does() -> None:
    samples = bare(list("aabbcc"), ["x", "y"] * 3)
    split = grouped(samples, (0.98, 0.01, 0.01), seed=0)
    assert [len(side) for side in (split.train, split.val, split.test)] == [2, 2, 2]
    assert not grouped(samples, (0.5, 0, 0.5), seed=0).val


def test_scores_are_balanced_by_fifths() -> None:
    rng = np.random.default_rng(1)
    samples = bare([None] * 500, [*rng.normal(size=498), float("nan"), None])
    split = grouped(samples, seed=0)
    check_split(split, samples)
    means = [np.nanmean([samples[r].target or np.nan for r in side]) for side in (split.train, split.test)]
    assert means[0] == pytest.approx(means[1], abs=0.15)


def test_same_seed_same_digest() -> None:
    samples = speakers(20, 5)
    one, two, other = (grouped(samples, seed=seed) for seed in (3, 3, 4))
    assert one == two
    assert one.digest != other.digest
    assert one.digest == replace(one, seed=9).digest


def test_fingerprint_is_of_a_set() -> None:
    assert fingerprint(["a", "b"]) == fingerprint(["b", "a"])
    assert fingerprint(["a", "b"]) != fingerprint(["ab"])
    assert len(fingerprint([])) == 32


@pytest.mark.parametrize("make", [folds, random_folds])
def test_folds_cover_everything_once(make) -> None:
    samples = speakers(11, 7)
    splits = make(samples, 5, seed=2)
    for split in splits:
        check_split(split, samples)
        assert split.val
    assert sorted(row for split in splits for row in split.test) == list(range(77))


def test_two_folds_still_have_train_and_val() -> None:
    samples = speakers(6, 12)
    for split in folds(samples, 2, seed=0):
        check_split(split, samples)
        assert [len(groups_of(samples, side)) for side in (split.train, split.val, split.test)] == [2, 1, 3]


def test_random_folds_say_what_they_are() -> None:
    assert random_folds(speakers(4, 9), 3, seed=0)[0].stamp == ("groups ignored",)
    assert random_folds(bare([None] * 30, ["a", "b"] * 15), 3, seed=0)[0].stamp == ("ungrouped",)


def test_leave_one_group_out() -> None:
    samples = speakers(5, 12)
    splits = leave_one_group_out(samples, seed=1)
    for split in splits:
        check_split(split, samples)
    assert [groups_of(samples, split.test) for split in splits] == [{f"g{i}"} for i in range(5)]
    held = [groups_of(samples, split.val) for split in splits]
    assert sorted(name for side in held for name in side) == [f"g{i}" for i in range(5)]
    others = leave_one_group_out(samples, seed=2)
    assert held != [groups_of(samples, split.val) for split in others]


def test_groups_may_come_from_a_tag() -> None:
    samples = [replace(s, tags={"session": i // 10}) for i, s in enumerate(speakers(10, 5))]
    splits = leave_one_group_out(samples, seed=0, by="session")
    assert len(splits) == 5
    for split in splits:
        check_split(split, samples)
        assert split.by == "session"
    with pytest.raises(ValueError, match="has no tag 'room' to group by; it has \\['session'\\]"):
        grouped(samples, seed=0, by="room")


def test_ungrouped_is_stamped() -> None:
    samples = bare([None] * 30, ["a", "b"] * 15)
    split = grouped(samples, seed=0)
    check_split(split, samples)
    assert split.stamp == ("ungrouped",)
    partly = bare(["g"] * 10 + [None] * 20, ["a", "b"] * 15)
    assert grouped(partly, seed=0).stamp == ("ungrouped: 20 of 30",)
    check_split(grouped(partly, seed=0), partly)


def test_stratified_keeps_class_shares() -> None:
    samples = speakers(4, 100, k=4)
    split = stratified(samples, seed=0)
    check_split(split, samples)
    assert (split.by, split.stamp) == ("sample", ("groups ignored",))
    whole = Counter(s.target for s in samples)
    found = Counter(samples[row].target for row in split.train)
    assert all(found[name] == pytest.approx(0.6 * n, abs=1) for name, n in whole.items())


def tagged(sides: list[str]) -> list[Sample]:
    samples = speakers(len(sides) // 2, 2, k=1)
    return [replace(s, tags={"split": side}) for s, side in zip(samples, sides, strict=True)]


def test_official() -> None:
    samples = tagged(["train"] * 4 + ["dev"] * 2 + ["Test"] * 2)
    split = official(samples, seed=0)
    check_split(split, samples)
    assert (split.train, split.val, split.test) == ((0, 1, 2, 3), (4, 5), (6, 7))
    assert split.by == "official:split"


def test_official_without_val_takes_groups_of_train() -> None:
    samples = tagged(["train"] * 10 + ["test"] * 2)
    split = official(samples, seed=0)
    check_split(split, samples)
    assert split.stamp == ("val drawn from train",)
    assert groups_of(samples, split.train).isdisjoint(groups_of(samples, split.val))


def test_official_errors() -> None:
    with pytest.raises(ValueError, match="'split' is 'holdout', expected one of"):
        official(tagged(["train", "holdout"]), seed=0)
    with pytest.raises(ValueError, match="has no test rows among 2"):
        official(tagged(["train", "train"]), seed=0)


@pytest.mark.parametrize("by", ["group", "sample", "official"])
def test_nested_never_sees_the_outer_test(by: str) -> None:
    samples = speakers(12, 6)
    outer = stratified(samples, seed=0) if by == "sample" else grouped(samples, seed=0)
    if by == "official":
        outer = replace(outer, by="official:split")
    inner = nested(samples, outer, 3, seed=1)
    seen = sorted((*outer.train, *outer.val))
    assert sorted(row for split in inner for row in split.val) == seen
    for split in inner:
        check_split(split, samples)
        assert split.test == ()
        assert sorted((*split.train, *split.val)) == seen


def test_too_few_groups_name_the_number() -> None:
    samples = speakers(3, 4)
    with pytest.raises(ValueError, match="5 folds need at least 5 groups, found 3"):
        folds(samples, 5, seed=0)
    with pytest.raises(ValueError, match="at least 3 groups \\(group\\), found 2"):
        leave_one_group_out(speakers(2, 9), seed=0)
    with pytest.raises(ValueError, match="3 sides need at least 3 groups, found 2"):
        grouped(speakers(2, 9), seed=0)
    with pytest.raises(ValueError, match="n of at least 2, got 1"):
        folds(samples, 1, seed=0)


@pytest.mark.parametrize("shares", [(1,), (0, 0.5, 0.5), (0.5, -0.1, 0.6)])
def test_shares_are_checked(shares: tuple[float, ...]) -> None:
    with pytest.raises(ValueError, match="train above 0"):
        grouped(speakers(5, 5), shares, seed=0)


def test_class_missing_from_train_is_named() -> None:
    samples = bare(list("aabbccdd"), ["x", "y", "x", "y", "x", "y", "z", "z"])
    with pytest.raises(ValueError, match=r"train has no row of class 'z' \(rows in all: {'z': 2}\)"):
        leave_one_group_out(samples, seed=0)


def test_class_with_one_member_does_not_stop_the_split() -> None:
    samples = bare(list("aabbccdd"), ["x", "y", "x", "y", "x", "y", "y", "z"])
    for split in leave_one_group_out(samples, seed=0):
        check_split(split, samples)


@settings(max_examples=40, deadline=None)
@given(
    st.lists(st.tuples(st.integers(0, 9), st.integers(0, 2)), min_size=12, max_size=80), st.integers(0, 99)
)
def test_every_split_keeps_its_promises(rows: list[tuple[int, int]], seed: int) -> None:
    samples = bare([f"g{g}" for g, _ in rows], [f"c{c}" for _, c in rows])
    try:
        splits = [grouped(samples, seed=seed), *folds(samples, 3, seed=seed)]
    except ValueError:
        reject()  # too few groups, or a class that lives in one group
    for split in splits:
        check_split(split, samples)


def test_contract_can_fail() -> None:
    samples = speakers(4, 4, k=1)
    good = grouped(samples, seed=0)
    crossing = Split((0, 4, 5, 6, 7), (1, 2, 3), tuple(range(8, 16)), "group", 0, good.digest)
    twice = replace(good, val=good.train)
    for bad, why in (
        (crossing, "'g0' is in train and val"),
        (twice, "two sides"),
        (replace(good, train=()), "empty"),
    ):
        with pytest.raises(AssertionError, match=why):
            check_split(bad, samples)


def test_dealing_single_samples_costs_a_small_multiple_of_counting_them() -> None:
    samples = speakers(20_000, 1)

    def seconds(work) -> float:
        began = time.process_time()
        work()
        return time.process_time() - began

    reading = min(seconds(lambda: Counter((s.id, s.target, s.group) for s in samples)) for _ in range(3))
    assert min(seconds(lambda: grouped(samples, seed=0)) for _ in range(2)) < 60 * reading


def test_face_needs_no_torch() -> None:
    code = (
        "import sys, polymodal.training, polymodal.training.controls, polymodal.training.baselines;"
        "assert not {'torch', 'sklearn', 'accelerate'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-W", "error", "-c", code], check=True)
