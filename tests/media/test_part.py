import math
import pickle
from pathlib import Path

import numpy as np
import pytest

from polymodal.media.part import (
    LIMITS,
    Limits,
    MediaError,
    Pose,
    Text,
    bytes_of,
    cut,
    digest_of,
    opened,
    refusing,
)
from polymodal.testing import check_part


def test_an_error_names_file_reason_and_survives_pickling() -> None:
    error = pickle.loads(pickle.dumps(MediaError("too_large", "a.png", "9 bytes, the limit is 8")))
    assert (error.reason, str(error)) == ("too_large", "a.png: 9 bytes, the limit is 8")
    assert isinstance(error, ValueError)


@pytest.mark.parametrize(
    ("name", "reason"), [("none.txt", "missing"), ("", "unsupported"), ("a\0b", "missing")]
)
def test_what_is_no_file_is_refused(tmp_path: Path, name: str, reason: str) -> None:
    with pytest.raises(MediaError) as caught:
        Text(tmp_path / name).read()
    assert caught.value.reason == reason
    assert str(tmp_path) in str(caught.value)


def test_a_file_that_cannot_be_opened_is_missing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "a.txt"
    path.write_text("a")

    def refuse(*args: object, **options: object) -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(Path, "open", refuse)
    with pytest.raises(MediaError, match=r"a\.txt: cannot be opened: Permission denied"):
        opened(path)


def test_no_bytes_are_empty_and_too_many_name_the_limit() -> None:
    with pytest.raises(MediaError) as caught:
        bytes_of(b"")
    assert caught.value.reason == "empty"
    with pytest.raises(MediaError, match="<bytes>: 11 bytes, the limit is 10") as caught:
        bytes_of(bytes(11), Limits(bytes=10))
    assert caught.value.reason == "too_large"


def test_whatever_a_decoder_raises_becomes_a_refusal() -> None:
    for error, reason in (
        (KeyError("tag"), "broken"),
        (MemoryError(), "too_large"),
        (RecursionError(), "broken"),
    ):
        with pytest.raises(MediaError) as caught, refusing(Path("a.png"), "picture"):
            raise error
        assert caught.value.reason == reason
        assert str(caught.value).startswith("a.png: ")
    with pytest.raises(KeyboardInterrupt), refusing(b"", "picture"):
        raise KeyboardInterrupt


def test_text_inline_in_a_file_and_in_a_file_with_a_mark(tmp_path: Path) -> None:
    plain, marked, none = tmp_path / "plain.txt", tmp_path / "marked.txt", tmp_path / "none.txt"
    plain.write_bytes("کتاب".encode())
    marked.write_bytes("\ufeffکتاب".encode())
    none.write_bytes(b"")
    assert [Text(source).read() for source in ("کتاب", plain, marked, none, "")] == ["کتاب"] * 3 + ["", ""]
    assert Text("کتاب", language="ur").digest() == Text(plain).digest() == Text(marked).digest()
    assert Text("a").digest() != Text("b").digest()
    check_part(Text("a"))


def test_text_that_is_not_utf_8_is_broken(tmp_path: Path) -> None:
    path = tmp_path / "latin.txt"
    path.write_bytes("é".encode("latin-1"))
    with pytest.raises(MediaError, match=r"latin\.txt: not a readable UTF-8 text") as caught:
        Text(path).read()
    assert caught.value.reason == "broken"
    with pytest.raises(MediaError, match="1 bytes, the limit is 0"):
        Text(path, limits=Limits(bytes=0)).read()


def test_digests_go_by_content_and_kind(tmp_path: Path) -> None:
    for name in "ab":
        (tmp_path / name).write_bytes(bytes(range(256)) * 9000)
    same = {
        digest_of("image", source)
        for source in (tmp_path / "a", tmp_path / "b", (tmp_path / "a").read_bytes())
    }
    assert len(same) == 1
    array = np.arange(6)
    others = {
        digest_of("audio", tmp_path / "a"),
        digest_of("image", tmp_path / "a", 0.5),
        digest_of("series", array),
        digest_of("series", array.reshape(2, 3)),
        digest_of("series", array.astype(np.int32)),
    }
    assert len(others | same) == 6
    assert digest_of("series", np.asfortranarray(array.reshape(2, 3))) in others
    assert all(len(digest) == 32 and int(digest, 16) >= 0 for digest in others)
    with pytest.raises(MediaError, match="Python objects"):
        digest_of("series", np.array([None]))


@pytest.mark.parametrize(
    ("start", "end", "total", "found"),
    [(0.0, None, 5.0, (0.0, 5.0)), (1.0, 9.0, 5.0, (1.0, 5.0)), (1.0, 2.0, math.inf, (1.0, 2.0))],
)
def test_cuts(start: float, end: float | None, total: float, found: tuple[float, float]) -> None:
    assert cut(start, end, total, "a.wav", LIMITS) == found


@pytest.mark.parametrize(
    ("start", "end", "total", "reason"),
    [
        (0.0, None, 0.0, "empty"),
        (-1.0, None, 5.0, "empty"),
        (math.nan, None, 5.0, "empty"),
        (3.0, 2.0, 5.0, "empty"),
        (0.0, math.nan, 5.0, "empty"),
        (6.0, None, 5.0, "empty"),
        (0.0, None, 3601.0, "too_large"),
        (0.0, 1e9, 1e9, "too_large"),
    ],
)
def test_cuts_that_hold_nothing_or_too_much(
    start: float, end: float | None, total: float, reason: str
) -> None:
    with pytest.raises(MediaError) as caught:
        cut(start, end, total, "a.wav", LIMITS)
    assert caught.value.reason == reason
    assert str(caught.value).startswith("a.wav: ")


def test_a_pose_turns_and_moves() -> None:
    half = math.sqrt(0.5)
    quarter = Pose((1.0, 2.0, 3.0), (half, 0.0, 0.0, half))  # 90 degrees about z: x goes to y
    np.testing.assert_allclose(quarter.matrix() @ [1, 0, 0, 1], [1, 3, 3, 1], atol=1e-12)
    np.testing.assert_allclose(Pose((0, 0, 0)).matrix(), np.eye(4))
    check_part(quarter)


def test_a_pose_against_scipy() -> None:
    from scipy.spatial.transform import Rotation

    for rotation in np.random.default_rng(0).normal(size=(20, 4)) * 7:
        ours = Pose((0.0, 0.0, 0.0), tuple(rotation)).matrix()[:3, :3]
        np.testing.assert_allclose(ours, Rotation.from_quat(np.roll(rotation, -1)).as_matrix(), atol=1e-12)


@pytest.mark.parametrize(
    ("position", "rotation"),
    [
        ((0, 0, 0), (0, 0, 0, 0)),
        ((0, 0), (1, 0, 0, 0)),
        ((0, 0, math.nan), (1, 0, 0, 0)),
        ((0, 0, 0), (1, 0, 0)),
    ],
)
def test_a_pose_that_is_none(position: tuple[float, ...], rotation: tuple[float, ...]) -> None:
    with pytest.raises(MediaError) as caught:
        Pose(position, rotation).matrix()  # type: ignore[arg-type]
    assert caught.value.reason == "broken"
