"""A saved model answers for new samples, whatever parts they lack."""

from dataclasses import replace

import numpy as np
import pytest
from tests.training.study.people import WAYS, people
from tests.training.study.test_trial import FITTING, network, table_of

from polymodal.media import Invalid, Series
from polymodal.training import grouped
from polymodal.training.study import Arm, answers, final


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    samples = people()
    made = final(
        network, table_of(samples), WAYS, grouped(samples, seed=0), Arm("full", absent=0.3), FITTING, seed=0
    )
    folder = tmp_path_factory.mktemp("model")
    made.save_pretrained(folder)
    return folder


def test_answers_come_in_order_with_probabilities(model):
    new = people(speakers=4, seed=1)
    rows = list(answers(model, new))
    assert [row["id"] for row in rows] == [sample.id for sample in new]
    assert np.mean([row["prediction"] == s.target for row, s in zip(rows, new, strict=True)]) > 0.8
    for row in rows:
        assert sum(row["probabilities"].values()) == pytest.approx(1)
        assert row["present"] == ["face", "voice"]
    assert 0 < np.mean([row["answered"] for row in rows]) <= 1


def test_any_part_may_be_missing_but_not_all(model):
    one, two, three = people(speakers=1, each=3)
    bare = replace(one, parts={"face": one.parts["face"]})
    broken = replace(two, parts={"face": Series(b"no numbers"), "voice": two.parts["voice"]})
    nothing = replace(three, parts={"face": Series(b"no numbers")})
    bad = Invalid("x", "samples.jsonl:4", "schema", "no id")
    rows = list(answers(model, [bare, bad, broken, nothing]))
    assert [row.get("present") for row in rows] == [["face"], None, ["voice"], []]
    assert rows[1] == {"id": "x", "invalid": "schema", "detail": "no id"}
    assert rows[3]["invalid"] == "empty"
    assert list(answers(model, [bad])) == [rows[1]]


def test_a_sample_without_a_part_can_be_refused(model):
    (one,) = people(speakers=1, each=1)
    bare = replace(one, parts={"face": one.parts["face"]})
    with pytest.raises(ValueError, match=r"'p00-00', part 'voice': not given"):
        list(answers(model, [bare], missing="refuse"))


def test_an_unknown_part_or_another_width_is_an_error_that_names_it(model):
    (one,) = people(speakers=1, each=1)
    with pytest.raises(ValueError, match="part 'smell'; this model knows: face, voice"):
        list(answers(model, [replace(one, parts={"smell": Series(np.zeros(3))})]))
    with pytest.raises(ValueError, match=r"part 'voice'.* width 4, given 5"):
        list(answers(model, [replace(one, parts={"voice": Series(np.zeros(5))})]))


def test_scores_are_predicted_without_classes(tmp_path):
    samples = people(scores=True)
    made = final(network, table_of(samples), WAYS, grouped(samples, seed=0), Arm("full"), FITTING, seed=0)
    made.save_pretrained(tmp_path)
    (row,) = answers(tmp_path, samples[:1])
    assert isinstance(row["prediction"], float)
    assert "probabilities" not in row
