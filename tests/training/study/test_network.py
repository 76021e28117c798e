"""Networks from columns; a person's samples as arms of a larger study."""

import numpy as np
import pytest
import torch

from polymodal.media import Sample, Series
from polymodal.metrics import exact
from polymodal.training import Table, grouped
from polymodal.training.study import Arm, Book, Fitting, prepared, reader
from polymodal.training.study import network as room
from polymodal.training.study.network import learnt
from polymodal.training.study.network import network as build

WAYS = {"text": ("series", "series"), "image": ("series", "series")}


def samples(n=40):
    rng = np.random.default_rng(0)
    return [
        Sample(str(i), {name: Series(rng.normal(size=5)) for name in WAYS}, str(i % 2), f"g{i // 2}")
        for i in range(n)
    ]


@pytest.mark.parametrize("fusion", ["concat", "additive", "lowrank", "crossattention"])
def test_every_fusion_gives_a_logit_a_class_and_the_same_twice(fusion):
    found = samples()
    table = Table.read(found, {name: reader(*way) for name, way in WAYS.items()})
    ready = prepared(table, grouped(found, seed=0), WAYS)
    nets = [build(ready, WAYS, Arm("a", fusion), Fitting(dim=8), seed=1) for _ in range(2)]
    for one, other in zip(*(net.parameters() for net in nets), strict=True):
        assert torch.equal(one, other)
    assert nets[0].meta["ways"] == {name: list(way) for name, way in WAYS.items()}


def test_an_unknown_fusion_is_named():
    found = samples()
    table = Table.read(found, {name: reader(*way) for name, way in WAYS.items()})
    ready = prepared(table, grouped(found, seed=0), WAYS)
    with pytest.raises(ValueError, match="'magic'; known: concat, additive, lowrank, crossattention"):
        build(ready, WAYS, Arm("a", "magic"), Fitting(dim=8), seed=1)


def test_learnt_keeps_the_book_s_other_arms(monkeypatch):
    class Notes:
        accept = ()

        def map(self, work, jobs):
            return {key: work(*args) for key, args in jobs.items()}

    def study(run, book, network, cohort, arms, fitting, *, seeds):
        assert len(cohort.samples) == 40
        assert [arm.name for arm in arms][:2] == ["lowrank", "concat"]
        book.add("lowrank", exact(0.5))
        book.sections["findings"] = ["one"]

    monkeypatch.setattr(room, "study", study)
    monkeypatch.setattr(room, "final", lambda *args, **options: args[0])
    book = Book(seed=0)
    book.add("accuracy", exact(1.0))
    kept = learnt(Notes(), book, samples(), ("lowrank", "concat"), Fitting(), seeds=1)
    assert kept is build
    assert list(book.estimates) == ["accuracy", "trained/lowrank"]
    assert book.sections["findings"] == ["one"]
