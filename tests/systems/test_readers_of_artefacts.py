"""Readers, trained on so little that only what must hold is held."""

import numpy as np
import pytest

from polymodal.envs.artefacts import TONES, classes_of, draw
from polymodal.nn import Concat, Dense, Joined, Softmax
from polymodal.systems.readers.pictures import PictureReader, Pictures, drawn, learn, train


@pytest.fixture(scope="module")
def reader():
    some, val = drawn("lesion", 160, seed=0), drawn("lesion", 60, seed=0, split="val")
    return learn("lesion", classes_of("lesion"), some, val, seed=0, epochs=4, batch=8)


def test_a_reader_learns_and_knows_how_far_to_trust_itself(reader):
    test = drawn("lesion", 120, seed=0, split="test")
    q, poor = reader.probabilities(test.pixels)
    assert (q.argmax(1) == test.target).mean() > 0.4  # chance is .2
    assert ((poor > 0.5) == test.poor).mean() > 0.9
    np.testing.assert_allclose(q.sum(1), 1)
    assert set(reader.confusion) == {False, True}
    for table in reader.confusion.values():
        assert table.shape == (5, 5)
        assert table.min() > 0
        np.testing.assert_allclose(table.sum(1), 1)
    assert reader.prior.sum() == pytest.approx(1)


def test_a_trace_is_told_with_what_is_measured_on_it():
    pytest.importorskip("neurokit2", reason="the extra [signals] is not installed")
    many = drawn("trace", 32, seed=1)
    good = Pictures(many.pixels, many.target, np.zeros(32, int))  # it learns to call every take good
    reader = learn("trace", classes_of("trace"), good, good, seed=0, epochs=12, batch=32)
    take = draw("trace", "slow rhythm", seed=7, split="test", size=(512, 192))
    reading = reader(take.image.pixels())
    assert sum(reading.q) == pytest.approx(1)
    assert reading.poor < 0.5
    signs = {sign.name: sign for sign in reading.signs}
    assert signs["trace"].value == reading.classes[int(np.argmax(reading.q))]
    assert 41 < float(signs["rate"].value.split()[0]) < 52
    assert signs["T wave"].value == "upright"
    assert np.abs(np.array(signs["rate"].box) - take.boxes["trace"]).max() <= 4


@pytest.mark.parametrize(
    "image",
    [
        np.zeros((0, 0, 3), np.uint8),
        np.full((64, 64, 3), 200, np.uint8),
        np.eye(64, dtype=np.uint8) * 255,
        np.random.default_rng(0).uniform(0, 255, (64, 64, 3)),
        draw("trace", "slow rhythm", seed=0).image.pixels(),
    ],
    ids=["nothing", "blank", "grey", "not bytes", "another kind"],
)
def test_what_cannot_be_read_is_unsure(reader, image):
    reading = reader(image)
    assert (reading.q, reading.signs) == ((), ())


def test_a_saved_reader_reads_the_same(reader, tmp_path):
    reader.save_pretrained(tmp_path / "lesion")
    again = PictureReader.from_pretrained(tmp_path / "lesion")
    pixels = drawn("lesion", 8, seed=3).pixels
    for one, other in zip(reader.probabilities(pixels), again.probabilities(pixels), strict=True):
        np.testing.assert_array_equal(one, other)
    np.testing.assert_array_equal(reader.confusion[True], again.confusion[True])
    assert (again.kind, again.classes) == (reader.kind, reader.classes)
    with pytest.raises(FileNotFoundError, match="no saved model"):
        PictureReader.from_pretrained(tmp_path / "none")
    other_sort = Joined({"x": Dense(2, 4)}, Concat({"x": 4}, dense=False), Softmax(4, 2))
    other_sort.save_pretrained(tmp_path / "other")
    with pytest.raises(ValueError, match="no reader of artefacts"):
        PictureReader.from_pretrained(tmp_path / "other")


def test_the_same_seed_trains_the_same_reader_of_anyones_pictures():
    many = drawn("lesion", 64, seed=1)
    assert set(many.tags) == set(TONES)
    unknown = Pictures(many.pixels, many.target, np.full(64, -1))  # quality not known
    first, second = (learn("lesion", "abcde", unknown, many, seed=2, epochs=1, batch=32) for _ in range(2))
    for one, other in zip(first.probabilities(many.pixels), second.probabilities(many.pixels), strict=True):
        np.testing.assert_array_equal(one, other)
    reading = first(many.pixels[0])
    assert reading.classes == tuple("abcde")
    left, top, right, bottom = reading.signs[0].box
    assert 0 <= left < right <= 64
    assert 0 <= top < bottom <= 64


def test_drawn_pictures_train_and_pages_need_none():
    assert train("trace", seed=0, n=16, epochs=1).classes == classes_of("trace")
    with pytest.raises(ValueError, match="read_page"):
        train("page", seed=0)
