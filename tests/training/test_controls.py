"""Conditions change what they say and nothing else; the table pairs by sample and clusters by group."""

import itertools
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from tests.training.worlds import READERS, ready, told

from polymodal.media import Sample, Series
from polymodal.metrics import ACCURACY, MAE
from polymodal.training import Condition, Ready, Split, Table, grouped, standard, tabulate
from polymodal.training.controls import FULL, controls, derangement

ROWS = range(60, 120)
OTHERS = np.arange(60)
REST = ("ids", "groups", "columns", "present", "target")


def apply(name: str, table: Ready, seed: int = 0) -> Ready:
    return Condition.parse(name).apply(table, ROWS, seed=seed)


def tokens(table: Ready, part: str, rows: object) -> list[np.ndarray]:
    return [table.columns[part].take([row]) for row in rows]


def untouched(before: Ready, after: Ready, *changed: str) -> bool:
    return all(getattr(before, name) is getattr(after, name) for name in REST if name not in changed)


@pytest.mark.parametrize(
    "condition", standard(["text", "audio"], noise=[0.5, 2.0], missing=[0.25, 1.0]), ids=str
)
def test_names_are_read_back(condition: Condition) -> None:
    assert Condition.parse(condition.name) == condition


def test_standard_has_every_control_once() -> None:
    assert [c.name for c in standard(["a", "b"])] == [
        "full", "only:a", "only:b", "drop:a", "drop:b",
        "shuffle:a", "shuffle:a:both", "shuffle:b", "shuffle:b:both",
        "noise:a:1", "noise:b:1", "missing:a:0.5", "missing:b:0.5", "missing:0.5", "shuffled targets",
    ]  # fmt: skip


@pytest.mark.parametrize("name", ["", "only:", "shuffle", "noise:a", "missing:a:x", "targets"])
def test_unknown_names_list_the_forms(name: str) -> None:
    with pytest.raises(ValueError, match=r"no condition .* there are full, only:x, drop:x, shuffle:x"):
        Condition.parse(name)


def test_one_model_serves_all_that_only_change_the_test() -> None:
    trained = {c.name: c.trained.name for c in standard(["a"])}
    assert [name for name, by in trained.items() if by != "full"] == [
        "only:a", "drop:a", "shuffle:a:both", "shuffled targets",
    ]  # fmt: skip
    assert all(by in ("full", name) for name, by in trained.items())


def test_full_is_the_table_itself() -> None:
    table = ready()
    assert FULL.apply(table, ROWS, seed=0) is table


@pytest.mark.parametrize(("name", "left"), [("only:text", [True, False]), ("drop:text", [False, True])])
def test_parts_are_taken_away_in_the_rows_alone(name: str, left: list[bool]) -> None:
    before = ready()
    after = apply(name, before)
    assert (after.present[60:] == left).all()
    assert after.present[:60].all()
    assert before.present.all()
    assert untouched(before, after, "present")


def test_missing_by_chance() -> None:
    before = ready(4000)
    rows = range(2000, 4000)
    shares = {p: Condition("missing", "", p).apply(before, rows, seed=0).present for p in (0, 0.25, 0.5, 1)}
    assert [p.sum() for p in (shares[0][2000:], shares[1][2000:])] == [4000, 0]
    assert (1 - shares[0.25][2000:].mean(0)) == pytest.approx([0.25, 0.25], abs=0.03)
    both = (~shares[0.5][2000:]).all(1).mean()
    assert both == pytest.approx(0.25, abs=0.03)  # parts go independently
    assert not (shares[0.5] & ~shares[0.25]).any()  # gone at .25, gone at .5
    one = Condition("missing", "audio", 0.5).apply(before, rows, seed=0).present
    assert one[:, 0].all()
    assert one[2000:, 1].mean() == pytest.approx(0.5, abs=0.04)


@pytest.mark.parametrize("ragged", [False, True])
def test_a_shuffle_deals_the_part_among_groups(ragged: bool) -> None:
    before = ready(120, ragged=ragged)
    before.present[70, 1] = False
    after = apply("shuffle:audio", before)
    assert untouched(before, after, "columns", "present")
    assert after.columns["text"] is before.columns["text"]
    given = {tokens(before, "audio", [row])[0].tobytes(): row for row in ROWS}
    donors = [given[x.tobytes()] for x in tokens(after, "audio", ROWS)]
    assert sorted(donors) == list(ROWS)
    assert all(before.groups[row] != before.groups[donor] for row, donor in zip(ROWS, donors, strict=True))
    assert after.present[60:, 1].tolist() == [donor != 70 for donor in donors]
    for part in ("text", "audio"):
        assert all(map(np.array_equal, tokens(after, part, OTHERS), tokens(before, part, OTHERS)))
    assert after.stamp == ()


def test_a_shuffle_repeats_by_seed_and_differs_between_seeds() -> None:
    before = ready()
    index = [apply("shuffle:audio", before, seed=s).columns["audio"].index.tolist() for s in (0, 0, 1)]
    assert index[0] == index[1] != index[2]


def test_a_shuffle_within_one_group_is_stamped_once() -> None:
    before = replace(ready(), groups=("g",) * 120)
    after = apply("shuffle:audio", apply("shuffle:audio", before))
    assert (after.columns["audio"].index[60:] >= 60).all()
    assert after.stamp == ("shuffle:audio: one group has most rows, so donors may be of the same group",)


@pytest.mark.parametrize("ragged", [False, True])
def test_noise_is_in_train_sds(ragged: bool) -> None:
    before = ready(2000, ragged=ragged)
    rows = range(1000, 2000)
    after = Condition.parse("noise:audio:2").apply(before, rows, seed=0)
    added = after.columns["audio"].take(rows) - before.columns["audio"].take(rows)
    assert added.std(0) == pytest.approx(2 * np.array(before.statistics.sd["audio"]), rel=0.1)
    assert np.abs(added.mean(0)).max() < 0.2
    same = range(1000)
    assert np.array_equal(after.columns["audio"].take(same), before.columns["audio"].take(same))
    assert untouched(before, after, "columns")


def test_targets_are_permuted_among_the_labelled() -> None:
    before = ready()
    before.target[100] = -1
    after = apply("shuffled targets", before)
    assert after.target[100] == -1
    assert sorted(after.target[60:]) == sorted(before.target[60:])
    assert (after.target[60:] != before.target[60:]).any()
    assert np.array_equal(after.target[:60], before.target[:60])
    assert untouched(before, after, "target")


def test_conditions_know_their_sides() -> None:
    table = ready()
    split = Split(tuple(range(60)), tuple(range(60, 90)), tuple(range(90, 120)), "group", 0, "")

    def changed(name: str) -> list[bool]:
        after = Condition.parse(name).over(table, split, seed=0)
        moved = (
            (after.columns["audio"].index != np.arange(120))
            | ~after.present.all(1)
            | (after.target != table.target)
        )
        return [bool(moved[list(side)].any()) for side in (split.train, split.val, split.test)]

    assert changed("full") == [False, False, False]
    assert changed("shuffle:audio") == [False, False, True]
    assert changed("shuffle:audio:both") == [True, True, True]
    assert changed("drop:audio") == [True, True, True]
    assert changed("missing:audio:1") == [False, False, True]
    assert changed("shuffled targets") == [True, True, False]
    assert Condition.parse("drop:audio").over(table, replace(split, val=()), seed=0).present[60:90].all()


def test_refusals() -> None:
    with pytest.raises(ValueError, match=r"drop:smell: the table has parts \['text', 'audio'\]"):
        apply("drop:smell", ready())
    with pytest.raises(ValueError, match="at least two rows, got 1"):
        Condition.parse("shuffle:audio").apply(ready(), [3], seed=0)
    ids = Table.read(told(30), {"text": lambda part: np.arange(1 + int(abs(part.values()[0, 0])))})
    with pytest.raises(ValueError, match="noise:text: the part is ids"):
        Condition.parse("noise:text:1").apply(ids.ready(ids.fit(range(30))), range(9), seed=0)


@given(st.lists(st.integers(0, 5), min_size=2, max_size=60), st.integers(0, 50))
def test_derangement_crosses_groups_whenever_it_can(groups: list[int], seed: int) -> None:
    names = [f"g{g}" for g in groups]
    donor, crosses = derangement(names, seed=seed)
    assert sorted(donor) == list(range(len(names)))
    assert (donor != np.arange(len(names))).all()
    assert crosses == (2 * max(map(names.count, names)) <= len(names))
    if crosses:
        assert all(names[i] != names[j] for i, j in enumerate(donor))


@given(st.integers(1, 6), st.integers(0, 20))
def test_derangement_of_two_equal_groups_is_a_full_exchange(n: int, seed: int) -> None:
    assume(n)
    donor, crosses = derangement(["a"] * n + ["b"] * n, seed=seed)
    assert crosses
    assert sorted(donor[:n]) == list(range(n, 2 * n))


def test_derangement_is_even() -> None:
    found = [tuple(derangement(list("abcd"), seed=seed)[0]) for seed in range(900)]
    possible = [p for p in itertools.permutations(range(4)) if all(i != x for i, x in enumerate(p))]
    assert set(found) == set(possible)
    assert min(map(found.count, possible)) > 50


def world() -> tuple[list[Sample], Split]:
    samples = told(120)
    return samples, grouped(samples, (2, 1, 3), seed=0)


def test_controls_pair_with_the_full_model_by_group() -> None:
    samples, split = world()
    table = Table.read(samples, READERS)
    asked = []

    def predict(condition: Condition, seed: int) -> np.ndarray:
        asked.append((condition.name, seed))
        made = condition.over(table.ready(table.fit(split.train)), split, seed=seed)
        rows = np.asarray(split.test)
        score = sum(made.columns[p].values[made.columns[p].index[rows], 0, :3] * made.present[rows, j, None]
                    for j, p in enumerate(made.names))  # fmt: skip
        return np.array(["c0", "c1", "c2"])[score.argmax(1)]

    names = ["full", "only:text", "only:audio", "shuffle:text", "missing:1"]
    found = controls(
        predict, samples, split, metric=ACCURACY, seeds=[0, 1],
        conditions=map(Condition.parse, names), baselines={"majority": np.full(len(split.test), "c0")},
    )  # fmt: skip
    assert asked == [(name, seed) for name in names for seed in (0, 1)]
    rows = {row.name: row for row in found}
    assert list(rows) == [*names, "majority", "best single part (text)"]
    assert rows["full"].difference is None
    for name in rows.keys() - {"full"}:
        gap = rows[name].difference
        assert gap.mean == pytest.approx(rows["full"].estimate.mean - rows[name].estimate.mean)
        assert gap.n_groups == rows[name].estimate.n_groups == len({samples[r].group for r in split.test})
    assert rows["shuffle:text"].difference.low > 0
    assert rows["missing:1"].difference.mean == pytest.approx(rows["majority"].difference.mean)
    assert rows["best single part (text)"].estimate == rows["only:text"].estimate
    assert rows["full"].to_json()["difference"] is None
    assert rows["majority"].to_json()["difference"]["mean"] == rows["majority"].difference.mean


def test_best_single_part_follows_the_direction_of_the_metric() -> None:
    target = np.arange(20.0)
    predictions = {"full": target, "only:a": target + 1, "only:b": target + 2}
    found = tabulate(predictions, target, [f"g{i // 4}" for i in range(20)], metric=MAE)
    assert found[-1].name == "best single part (a)"
    assert [row.difference.mean for row in found[1:]] == [-1, -2, -1]
    assert len(tabulate({"full": target, "only:a": target + 1}, target, None, metric=MAE)) == 2
    with pytest.raises(KeyError):
        tabulate({"only:a": target}, target, None, metric=MAE)


def test_a_sample_without_a_group_is_its_own() -> None:
    samples = [Sample(id=f"s{i}", parts={"x": Series(np.ones(1))}, target=f"c{i % 2}") for i in range(12)]
    split = grouped(samples, seed=0)
    [row] = controls(
        lambda condition, seed: np.array([samples[r].target for r in split.test]),
        samples, split, metric=ACCURACY, seeds=[0], conditions=[FULL],
    )  # fmt: skip
    assert (row.estimate.mean, row.estimate.n_groups) == (1, len(split.test))
