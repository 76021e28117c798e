"""The library of texts: passages, their sources, and the two rankings."""

import json
import math
from pathlib import Path

import numpy as np
import pytest

from polymodal.chat import library
from polymodal.media import Limits, MediaError


def folder(path: Path) -> Path:
    (path / "deep").mkdir()
    (path / "a.md").write_text(
        "# Fevers\n\nOrvane fever is red.\nIt passes.\n\n# Coughs\nSelby coughs last.\n"
    )
    (path / "deep" / "b.txt").write_text("\n\n" + "word " * 250 + "\n\nGout is treated with rest.\n")
    rows = [
        {"text": "Rest and water help.", "title": "Rest", "source": "book p. 3"},
        {"text": ""},
        {"text": "Salt."},
    ]
    (path / "c.jsonl").write_text("\n".join([*map(json.dumps, rows), "{"]))
    (path / "bad.txt").write_bytes(b"\xff\xfe\x00")
    (path / "picture.png").write_bytes(b"no text")
    (path / ".hidden.txt").write_text("never")
    (path / "out.txt").symlink_to("/etc/hostname")
    return path


def test_a_folder_becomes_passages_with_sources(tmp_path: Path) -> None:
    found = library.Library.read(folder(tmp_path))
    assert [(one.source, one.title, one.text[:12]) for one in found.passages] == [
        ("a.md:3", "Fevers", "Orvane fever"),
        ("a.md:7", "Coughs", "Selby coughs"),
        ("book p. 3", "Rest", "Rest and wat"),
        ("c.jsonl:3", "", "Salt."),
        ("deep/b.txt:3", "", "word word wo"),
        ("deep/b.txt:5", "", "Gout is trea"),
    ]
    assert [(one.where, one.reason) for one in found.invalid] == [
        ("bad.txt", "broken"),
        ("c.jsonl:2", "schema"),
        ("c.jsonl:4", "broken"),
        ("out.txt", "unsupported"),
    ]


def test_search_by_words(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    found = library.Library.read(folder(tmp_path)).search("the resting", 5)
    assert [one.source for one in found] == ["book p. 3", "deep/b.txt:5"]
    assert found[0].score > found[1].score > 0
    assert library.Library.read(tmp_path / "a.md").search("zebra of the") == ()
    assert "".join(capfd.readouterr()) == ""  # bm25s draws no bars


def test_bm25_by_hand() -> None:
    texts = ("gout gout rest", "gout", "salt")
    # n=3, mean length 5/3, df(gout)=2: idf = ln(1 + 1.5/2.5); tf / (tf + 1.5 (1 - .75 + .75 length/mean))
    idf = math.log(1.6)
    hand = [idf * 2 / (2 + 1.5 * (0.25 + 0.75 * 3 / (5 / 3))), idf / (1 + 1.5 * (0.25 + 0.75 / (5 / 3))), 0]
    np.testing.assert_allclose(library.Ranked(texts).scores("Gout?"), hand, rtol=1e-6)
    np.testing.assert_array_equal(library.Ranked(("", "...")).scores("gout"), [0, 0])
    assert library.Ranked(()).scores("gout").shape == (0,)
    assert library.terms("Do you smoke? Smokers' allergies") == ["smok", "smok", "allergy"]


def test_search_by_words_and_sense(tmp_path: Path) -> None:
    (tmp_path / "a.jsonl").write_text(
        "\n".join(json.dumps({"text": t}) for t in ("gout", "podagra", "gout salt"))
    )
    near = {"gout": (0.5, 1), "podagra": (1, 0), "gout salt": (-1, 0)}

    def encoder(texts: object) -> np.ndarray:
        return np.array([near.get(text.strip(), (1, 0)) for text in texts])  # type: ignore[attr-defined]

    found = library.Library.read(tmp_path, encoder=encoder).search("gout now", 3)
    # by words: gout, gout salt; by sense: podagra, gout
    ranks = {"gout": 1 / 61 + 1 / 62, "podagra": 1 / 61, "gout salt": 1 / 62}
    assert {one.text: one.score for one in found} == pytest.approx(ranks)
    assert [one.text for one in found] == ["gout", "podagra", "gout salt"]
    bad = library.Library.read(tmp_path, encoder=lambda texts: np.zeros(3))
    with pytest.raises(ValueError, match=r"the encoder gave \(3,\)"):
        bad.search("gout")


def test_bounds(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "a.txt").write_text("x" * 9_000 + " " + "word " * 900)
    assert max(len(one.text) for one in library.Library.read(tmp_path).passages) <= 4_000
    monkeypatch.setattr(library, "MOST", 1)
    found = library.Library.read(tmp_path)
    assert (len(found.passages), [one.reason for one in found.invalid]) == (1, ["too_large"])
    with pytest.raises(MediaError, match=r"no text to look up.*a\.txt: 13,501 bytes, the limit is 10"):
        library.Library.read(tmp_path, limits=Limits(bytes=10))
    with pytest.raises(MediaError, match="no such file"):
        library.Library.read(tmp_path / "b")
    with pytest.raises(ValueError, match="n=0"):
        found.search("x", 0)
