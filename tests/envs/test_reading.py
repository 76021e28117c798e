import sys

import numpy as np
import pytest

from polymodal.envs import reading
from polymodal.envs.cards import Scene, Thing
from polymodal.media import Image, MediaError, Sample, Text

pytest.importorskip("rapidocr", reason="the extra [ocr] is not installed")


@pytest.mark.parametrize(
    ("word", "shape"),
    [("soup", "circle"), ("kafija", "triangle")],
)
def test_a_drawn_sign_is_read(word, shape):
    scene = Scene((Thing(shape, "blue", y=0.36, size=0.6),), sign=word)
    assert reading.read_text(scene.image(), "lv") == word


def test_lines_come_from_the_top():
    assert reading.read_text(Scene(sign="fresh bread\nhoney", size=192).image()) == "fresh bread\nhoney"


def test_nothing_written_nothing_read():
    assert reading.read_text(Scene().image()) == ""


def test_marks_without_a_letter_are_left_out(monkeypatch):
    class Found:
        boxes = np.array([[[9, 9], [12, 9], [12, 12], [9, 12]], [[0, 0], [3, 0], [3, 3], [0, 3]]], float)
        txts = ("soup", "★")

    monkeypatch.setattr(reading, "_engine", lambda: lambda pixels: Found())
    assert reading.read_text(Scene().image()) == "soup"


def test_what_cannot_be_read_is_refused_by_name(monkeypatch):
    with pytest.raises(ValueError, match="no model reads 'ur'"):
        reading.read_text(Scene().image(), "ur")
    with pytest.raises(MediaError):
        reading.read_text(Image(b"no picture"))
    reading._engine.cache_clear()
    monkeypatch.setitem(sys.modules, "rapidocr", None)
    with pytest.raises(ModuleNotFoundError, match=r"polymodal\[ocr\]") as caught:
        reading.read_text(Scene().image())
    assert caught.value.name == "rapidocr"
    reading._engine.cache_clear()


def test_pictures_of_samples_are_read_by_id(monkeypatch):
    monkeypatch.setattr(reading, "read_text", lambda image, language: f"{language} {image.size()[0]}")
    samples = [
        Sample("a", {"image": Scene(size=40).image()}, tags={"language": "lv"}),
        Sample("b", {"text": Text("no picture")}),
        Sample("c", {"image": Image(b"broken")}),
    ]
    assert reading.read_all(samples) == {"a": "lv 40", "b": "", "c": ""}
