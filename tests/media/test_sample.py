import io
import wave
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from polymodal import media
from polymodal.media import (
    Audio,
    Image,
    Invalid,
    Limits,
    MediaError,
    Message,
    Pose,
    Sample,
    Series,
    Text,
    Video,
    part_of,
    verify,
)
from polymodal.media.sample import SUFFIXES

PIXELS = np.zeros((2, 2, 3), np.uint8)


def test_the_face_is_sorted_and_whole() -> None:
    assert sorted(media.__all__) == media.__all__
    assert all(hasattr(media, name) for name in media.__all__)


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        ("a.txt", Text),
        ("a.JPG", Image),
        ("b.flac", Audio),
        ("b.webm", Video),
        ("c.npy", Series),
        ("c.csv", Series),
    ],
)
def test_a_file_becomes_a_part_by_its_suffix(name: str, kind: type) -> None:
    part = part_of(Path(name))
    assert type(part) is kind
    assert part.kind == SUFFIXES[Path(name).suffix.lower()]


def test_a_kind_and_options_may_be_given() -> None:
    sound = part_of(Path("film.mp4"), "audio", start=1.0, end=2.0)
    assert isinstance(sound, Audio)
    assert (sound.start, sound.end) == (1.0, 2.0)
    table = part_of(Path("a.csv"), columns=("x",), limits=Limits(cells=3))
    assert isinstance(table, Series)
    assert (table.columns, table.limits.cells) == (("x",), 3)


@pytest.mark.parametrize(
    ("name", "kind", "options", "words"),
    [
        ("a.docx", None, {}, r"a\.docx: \.docx is none of: \.txt"),
        ("a", None, {}, "no suffix is none of"),
        ("a.txt", "pose", {}, "pose is none of: text image audio video series"),
        ("a.txt", None, {"start": 1.0}, "options of text"),
    ],
)
def test_what_is_no_part(name: str, kind: str | None, options: dict[str, float], words: str) -> None:
    with pytest.raises(MediaError, match=words) as caught:
        part_of(Path(name), kind, **options)  # type: ignore[arg-type]
    assert caught.value.reason == "unsupported"


def test_verify_decodes_every_kind() -> None:
    stream = io.BytesIO()
    with wave.open(stream, "wb") as sound:
        sound.setparams((1, 2, 8000, 0, "NONE", ""))
        sound.writeframes(bytes(1600))
    good = [Text("a"), Image(PIXELS), Audio(stream.getvalue()), Series(np.ones(3)), Pose((0.0, 0.0, 0.0))]
    bad = [
        Text(Path("none.txt")),
        Image(b"x"),
        Audio(b"x"),
        Video(b"x"),
        Series(b"x"),
        Pose((0.0, 0.0, np.nan)),
    ]
    for part in good:
        verify(part)
    for part in bad:
        with pytest.raises(MediaError):
            verify(part)


def test_a_sample_digest_goes_by_its_parts_alone() -> None:
    one = Sample("1", {"text": Text("a"), "image": Image(PIXELS)}, target="x", group="g", tags={"age": 3})
    same = Sample("2", {"image": Image(PIXELS.copy()), "text": Text("a")}, target="y")
    assert one.digest() == same.digest()
    assert len(one.digest()) == 32
    for parts in ({"text": Text("a")}, {"text": Text("b"), "image": Image(PIXELS)}, {"note": Text("a")}, {}):
        assert replace(one, parts=parts).digest() != one.digest()


def test_messages_and_invalid_samples_are_plain_values() -> None:
    assert Message("user", (Text("a"),)) == Message("user", (Text("a"),))
    assert Invalid("1", "a.jsonl:3", "schema", "no id") == Invalid("1", "a.jsonl:3", "schema", "no id")
    assert Sample("1", {}).tags == {}
