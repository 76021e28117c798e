"""One trained arm: what it says, under which conditions, at what cost."""

from dataclasses import replace
from itertools import product

import numpy as np
import pytest
from tests.training.study.people import WAYS, people

from polymodal.nn import Chain, Concat, Dense, Joined, Regress, Scaler, Softmax
from polymodal.training import Table, folds, grouped
from polymodal.training.study import Arm, Fitting, baselines, final, judged, latency, prepared, reader, said
from polymodal.training.study.trial import presences, survival

FITTING = Fitting(dim=8, steps=60, batch=32, lr=1e-2)


def network(ready, ways, arm, fitting, *, seed):
    import torch

    torch.manual_seed(seed)
    encoders = {
        n: Chain(Scaler(ready.width(n)), Dense(ready.width(n), fitting.dim, dropout=arm.dropout))
        for n in ready.names
    }
    fusion = Concat(dict.fromkeys(encoders, fitting.dim), fitting.dim, dropout=arm.dropout, absent=arm.absent)
    classes = ready.statistics.classes
    head = Regress(fitting.dim) if classes is None else Softmax(fitting.dim, len(classes))
    meta = {"ways": {n: list(ways[n]) for n in encoders}, "statistics": ready.statistics.to_json()}
    return Joined(encoders, fusion, head, meta)


def table_of(samples):
    return Table.read(samples, {name: reader(*way) for name, way in WAYS.items()})


@pytest.fixture(scope="module")
def classes():
    samples = people()
    table, split = table_of(samples), grouped(samples, seed=0)
    arms = [Arm("full", absent=0.3, probed=True), Arm("only:face", condition="only:face")]
    values = {
        arm.name: [[judged(network, table, WAYS, split, arm, FITTING, seed=s)] for s in (0, 1)]
        for arm in arms
    }
    return samples, table, split, values


def test_a_full_arm_tells_what_it_says_without_parts_and_with_strangers_parts(classes):
    _, table, split, values = classes
    value = values["full"][0][0]
    assert [row["id"] for row in value["rows"]] == [table.ids[i] for i in split.test]
    assert value["rows"][0]["present"] == ["face", "voice"]
    assert set(value["outputs"]) == {
        "full", "shuffle:face", "shuffle:voice", "noise:face:1", "noise:voice:1",
        "keep:face+voice", "keep:face", "keep:voice", "keep:",
    }  # fmt: skip
    np.testing.assert_array_equal(value["outputs"]["full"], value["outputs"]["keep:face+voice"])
    assert {out.shape for out in value["outputs"].values()} == {(len(split.test), 3)}
    assert len(np.unique(value["outputs"]["keep:"], axis=0)) == 1  # nothing seen, one answer
    assert value["classes"] == ["a", "b", "c"]
    assert value["curve"][-1]["step"] == 60


def test_an_arm_on_one_part_carries_only_that_part(classes):
    _, _, _, values = classes
    full, only = values["full"][0][0], values["only:face"][0][0]
    assert set(only["outputs"]) == {"full"}
    assert only["parameters"] < full["parameters"]
    assert only["macs"] < full["macs"]
    assert full["macs"] == 8 * (3 + 4) + 16 * 8 + 8 * 3


def test_same_seed_same_numbers(classes):
    _, table, split, values = classes
    again = judged(network, table, WAYS, split, Arm("full", absent=0.3, probed=True), FITTING, seed=0)
    np.testing.assert_array_equal(again["outputs"]["full"], values["full"][0][0]["outputs"]["full"])
    assert again["curve"] == values["full"][0][0]["curve"]


def test_told_together_by_seed_and_fold(classes):
    samples, _, split, values = classes
    told = said(values)
    assert told.model == "full"
    assert told.ids == tuple(samples[row].id for row in split.test)
    assert told.groups[0] == samples[split.test[0]].group
    assert told.present[0] == ("face", "voice")
    assert told.outputs["full"].shape == (2, len(split.test), 3)
    assert told.scores("full").mean() > 0.8
    assert told.scores("only:face").mean() > 0.7
    np.testing.assert_allclose(told.probabilities["full"].sum(-1), 1)
    answered = told.probabilities["full"].max(-1) >= told.confidence["full"]
    assert 0.5 < answered.mean() < 1


def test_folds_are_put_in_a_row():
    samples = people()
    table, splits = table_of(samples), folds(samples, 3, seed=0)
    arm, short = Arm("full"), replace(FITTING, steps=5)
    cells = {"full": [[judged(network, table, WAYS, split, arm, short, seed=0) for split in splits]]}
    told = said(cells)
    assert sorted(told.ids) == sorted(sample.id for sample in samples)
    assert sorted(set(told.fold)) == [0, 1, 2]
    truth = {sample.id: sample.target for sample in samples}
    assert [truth[i] for i in told.ids] == told.target.tolist()


def test_scores_are_judged_by_their_error():
    samples = people(scores=True)
    table, split = table_of(samples), grouped(samples, seed=0)
    value = judged(network, table, WAYS, split, Arm("full"), FITTING, seed=0)
    told = said({"full": [[value]]})
    assert told.classes is None
    assert told.metric.name == "MAE"
    np.testing.assert_allclose(told.scores("full"), abs(told.predictions("full") - told.target))
    assert not told.probabilities
    assert told.scores("full").mean() < 1.0
    model = final(network, table, WAYS, split, Arm("full"), FITTING, seed=0)
    assert "temperature" not in model.meta


def test_presences_come_with_all_parts_first_and_not_for_many():
    assert presences(["a", "b"]) == [("a", "b"), ("a",), ("b",), ()]
    assert len(presences(list("abcd"))) == 16
    assert presences(list("abcde")) == []


def test_survival_is_what_drawing_who_is_missing_gives():
    rng = np.random.default_rng(0)
    names = ["a", "b", "c"]
    values = {"keep:" + "+".join(kept): rng.random(5) for kept in presences(names)}
    for p, part in product((0.0, 0.3, 1.0), ("", "b")):
        lost = rng.random((200_000, 3)) < p
        lost &= [not part or name == part for name in names]
        codes, counts = np.unique(lost, axis=0, return_counts=True)
        keys = [
            "keep:" + "+".join(n for n, gone in zip(names, row, strict=True) if not gone) for row in codes
        ]
        drawn = sum(values[key] * n for key, n in zip(keys, counts, strict=True)) / counts.sum()
        np.testing.assert_allclose(survival(values, names, p, part), drawn, atol=5e-3)


def test_baselines_answer_for_the_same_rows(classes):
    samples, table, split, values = classes
    texts = [f"class {s.target}" for s in samples]
    told = baselines(table, WAYS, split, seed=0, texts=texts)
    assert set(told) == {"majority", "prior", "logistic", "forest", "char n-grams"}
    truth = np.array([row["target"] for row in values["full"][0][0]["rows"]])
    assert np.mean(told["char n-grams"] == truth) == 1
    assert np.mean(told["logistic"] == truth) > 0.8
    assert len(set(told["majority"])) == 1


def test_rows_without_a_target_are_left_out_everywhere():
    samples = people()
    samples[3] = replace(samples[3], target=None)
    table, split = table_of(samples), grouped(samples, seed=0)
    value = judged(network, table, WAYS, split, Arm("full"), replace(FITTING, steps=5), seed=0)
    told = baselines(table, WAYS, split, seed=0)
    assert samples[3].id not in {row["id"] for row in value["rows"]}
    assert len(told["majority"]) == len(value["rows"])
    assert value["excluded"] == {"no target": 1}


def test_latency_is_a_time_for_each_model(classes):
    _, table, split, _ = classes
    ready = prepared(table, split, WAYS)
    models = {name: network(ready, WAYS, Arm(name), FITTING, seed=0) for name in ("one", "two")}
    found = latency(models, ready, rounds=3)
    assert {name: len(rounds) for name, rounds in found.items()} == {"one": 3, "two": 3}
    assert min(map(min, found.values())) > 0
