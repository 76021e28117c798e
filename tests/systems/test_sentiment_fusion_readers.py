"""Each layout of real data, from trees a few files large."""

import io

import numpy as np
import pytest
import soundfile

from polymodal.media import Invalid, Sample
from polymodal.systems.sentiment_fusion import readers


def wav(path, seconds=0.2, rate=8000, pitch=200.0):
    path.parent.mkdir(parents=True, exist_ok=True)
    t = np.arange(int(seconds * rate)) / rate
    soundfile.write(path, 0.3 * np.sin(2 * np.pi * pitch * t), rate)


def parted(rows):
    rows = list(rows)
    return [r for r in rows if isinstance(r, Sample)], [r for r in rows if isinstance(r, Invalid)]


@pytest.fixture
def iemocap(tmp_path):
    labels = {
        "Ses01F_impro01": [
            "% [START_TIME - END_TIME] TURN_NAME EMOTION [V, A, D]",
            "",
            "[6.2901 - 8.2357]\tSes01F_impro01_F000\tneu\t[2.5000, 2.5000, 2.5000]",
            "C-E2:\tNeutral;\t()",
            "A-E3:\tval 3; act 2; dom  2;\t()",
            "[10.0100 - 11.3925]\tSes01F_impro01_M002\tfru\t[2.0000, 3.0000, 3.5000]",
            "[12.0000 - 13.0000]\tSes01F_impro01_M003\txxx\t[2.5000, 2.5000, 2.5000]",
            "[14.0000 - 15.0000]\tSes01F_impro01_F001\tsur\t[2.5000, 2.5000, 2.5000]",
            "[16.0000 - broken",
        ],
        "Ses01M_script01_1": ["[1.0 - 2.5]\tSes01M_script01_1_F000\texc\t[4.0000, 4.0000, 3.0000]"],
    }
    for dialogue, lines in labels.items():
        folder = tmp_path / "Session1" / "dialog" / "EmoEvaluation"
        folder.mkdir(parents=True, exist_ok=True)
        (folder / f"{dialogue}.txt").write_text("\n".join(lines) + "\n")
    (tmp_path / "Session1/dialog/EmoEvaluation/._Ses01F_impro01.txt").write_bytes(b"\0\5\x16\7")
    (tmp_path / "Session1/dialog/transcriptions").mkdir()
    (tmp_path / "Session1/dialog/transcriptions/Ses01F_impro01.txt").write_text(
        "Ses01F_impro01_F000 [006.2901-008.2357]: Excuse me.\n"
        "Ses01F_impro01_M002 [010.0100-011.3925]: Yeah: what?\n"
    )
    for turn in ("F000", "M002"):
        wav(tmp_path / f"Session1/sentences/wav/Ses01F_impro01/Ses01F_impro01_{turn}.wav")
    return tmp_path


def test_iemocap_speaker_is_session_and_letter_of_the_turn(iemocap):
    samples, _ = parted(readers.read(iemocap))
    assert [(s.id, s.group, s.target) for s in samples] == [
        ("Ses01F_impro01_F000", "1F", "neutral"),
        ("Ses01F_impro01_M002", "1M", "frustrated"),
        ("Ses01M_script01_1_F000", "1F", "excited"),
    ]
    first, second, third = samples
    assert second.parts["text"].read() == "Yeah: what?"
    assert first.parts["audio"].wave().shape == (1600,)
    assert not third.parts
    assert second.tags["sex"] == "M"
    assert second.tags["session"] == "1"
    assert second.tags["dialogue"] == second.tags["recording"] == "Ses01F_impro01"
    assert (second.tags["start"], second.tags["end"]) == (10.01, 11.3925)
    assert (second.tags["valence"], second.tags["dominance"]) == (2.0, 3.5)


def test_iemocap_counts_the_emotions_it_leaves_out_and_the_lines_it_cannot_read(iemocap):
    _, invalid = parted(readers.read(iemocap))
    assert [(i.reason, i.detail) for i in invalid[:2]] == [
        ("excluded", "emotion xxx"),
        ("excluded", "emotion sur"),
    ]
    assert invalid[2].reason == "broken"
    assert invalid[2].where == "Session1/dialog/EmoEvaluation/Ses01F_impro01.txt:9"
    assert len(invalid) == 3


def film(path):
    """Black on the left, white on the right."""
    import av

    path.parent.mkdir(parents=True)
    buffer = io.BytesIO()
    with av.open(buffer, "w", format="avi") as box:
        track = box.add_stream("mpeg4", rate=10)
        track.width, track.height, track.pix_fmt = 32, 16, "yuv420p"
        pixels = np.zeros((16, 32, 3), np.uint8)
        pixels[:, 16:] = 255
        for _ in range(120):
            box.mux(track.encode(av.VideoFrame.from_ndarray(pixels, format="rgb24")))
        box.mux(track.encode())
    path.write_bytes(buffer.getvalue())


def test_iemocap_film_is_cut_to_the_turn_and_to_the_speaker_s_half(iemocap):
    film(iemocap / "Session1/dialog/avi/DivX/Ses01F_impro01.avi")
    both, *_ = parted(readers.read(iemocap))[0]
    assert both.parts["video"].seconds() == pytest.approx(8.2357 - 6.2901)
    assert next(both.parts["video"].frames()).pixels.shape == (16, 32, 3)
    woman, man, _ = parted(readers.read(iemocap, "left:F"))[0]
    sides = [next(s.parts["video"].frames(count=1)).pixels for s in (woman, man)]
    assert [side.shape for side in sides] == [(16, 16, 3)] * 2
    assert sides[0].mean() < 60
    assert sides[1].mean() > 200
    swapped = parted(readers.read(iemocap, "left:M"))[0][0].parts["video"]
    assert swapped.digest() != woman.parts["video"].digest()


MELD = (
    "Sr No.,Utterance,Speaker,Emotion,Sentiment,Dialogue_ID,Utterance_ID,Season,Episode,StartTime,EndTime\n"
    '1,"Oh my God, he\u2019s lost it.",Phoebe,sadness,negative,{d},0,4,7,"00:20:57,256","00:21:00,049"\n'
    '2,What?,Monica,surprise,negative,{d},1,4,7,"00:21:01,927","00:21:03,261"\n'
    '3,Or no.,Ross,neutral,neutral,x,0,4,7,"00:21:01,927","00:21:03,261"\n'
    "4,Cut off,Ross\n"
)


def test_meld_groups_by_dialogue_and_counts_broken_rows(tmp_path):
    for split, dialogue in (("train", 0), ("dev", 0), ("test", 5)):
        (tmp_path / f"{split}_sent_emo.csv").write_text(MELD.format(d=dialogue), encoding="utf-8")
    samples, invalid = parted(readers.read(tmp_path))
    assert {s.group for s in samples} == {"train-0", "dev-0", "test-5"}
    assert len({s.id for s in samples}) == len(samples) == 6
    one = next(s for s in samples if s.id == "train-0-0")
    assert (one.target, one.tags["speaker"], one.tags["split"]) == ("sadness", "Phoebe", "train")
    assert (one.tags["start"], one.tags["end"]) == (1257.256, 1260.049)
    assert one.parts["text"].read() == "Oh my God, he\u2019s lost it."
    assert [(i.reason, i.where) for i in invalid if i.where.startswith("dev")] == [
        ("broken", "dev_sent_emo.csv:4"),
        ("broken", "dev_sent_emo.csv:5"),
    ]


def test_digit_pictures_come_from_pools_that_no_two_speakers_share(tmp_path):
    for digit in (3, 7):
        for speaker in ("ann", "bob", "cy"):
            for index in range(4):
                wav(tmp_path / "recordings" / f"{digit}_{speaker}_{index}.wav", pitch=100 + index)
    samples, invalid = parted(readers.read(tmp_path))
    assert not invalid
    assert len(samples) == 24
    assert {s.group for s in samples} == {"ann", "bob", "cy"}
    assert {s.target for s in samples} == {"3", "7"}
    assert samples[0].parts["image"].pixels().shape == (8, 8, 3)
    pool = {g: {s.parts["image"].digest() for s in samples if s.group == g} for g in ("ann", "bob", "cy")}
    assert not pool["ann"] & pool["bob"]
    assert not pool["ann"] & pool["cy"]
    assert not pool["bob"] & pool["cy"]
    again, _ = parted(readers.read(tmp_path))
    assert [s.digest() for s in again] == [s.digest() for s in samples]
    other, _ = parted(readers.read(tmp_path, seed=1))
    assert [s.digest() for s in other] != [s.digest() for s in samples]


def test_tables_and_folders_are_recognised(tmp_path):
    tables, folder = tmp_path / "tables", tmp_path / "folder"
    tables.mkdir()
    folder.mkdir()
    (tables / "text.csv").write_text("id,a,b,label,speaker\nu1,1.5,2,sad,x\nu2,3,4.5,glad,y\n")
    (tables / "audio.csv").write_text("id,c\nu2,8\nu1,7.5\n")
    samples, _ = parted(readers.read(tables, "label:label,group:speaker"))
    assert {(s.id, s.target, s.group) for s in samples} == {("u1", "sad", "x"), ("u2", "glad", "y")}
    assert {s.id: s.parts["audio"].values()[0, 0] for s in samples} == {"u1": 7.5, "u2": 8.0}
    (folder / "samples.jsonl").write_text('{"id": "a", "text": "so good", "target": "glad", "group": "x"}\n')
    for path in (folder, folder / "samples.jsonl"):
        (sample,) = parted(readers.read(path))[0]
        assert (sample.target, sample.parts["text"].read()) == ("glad", "so good")


@pytest.mark.parametrize(
    ("names", "columns", "layout"),
    [
        (["train_sent_emo.csv", "notes.txt"], "", "meld"),
        (["0_ann_0.wav"], "", "digits"),
        (["samples.jsonl", "x.csv"], "", "folder"),
        (["shard-0.parquet"], "", "folder"),
        (["text.parquet", "audio.parquet"], "label:y", "tables"),
        (["features.npz"], "label:y", "tables"),
    ],
)
def test_layout_is_told_by_names(tmp_path, names, columns, layout):
    for name in names:
        (tmp_path / name).touch()
    assert readers.detect(tmp_path, columns) == layout


def test_what_is_no_known_layout_says_which_are(tmp_path):
    with pytest.raises(FileNotFoundError, match="nowhere"):
        readers.detect(tmp_path / "nowhere")
    (tmp_path / "holiday.zip").touch()
    with pytest.raises(ValueError, match=r"holiday\.zip") as caught:
        readers.detect(tmp_path)
    for layout in readers.LAYOUTS.values():
        assert layout in str(caught.value)
    (tmp_path / "holiday.zip").unlink()
    with pytest.raises(ValueError, match="found nothing"):
        readers.detect(tmp_path)


def test_a_pickle_is_refused_with_the_way_to_convert_it(tmp_path):
    (tmp_path / "mosi.pkl").touch()
    for path in (tmp_path, tmp_path / "mosi.pkl"):
        with pytest.raises(ValueError, match=r"polymodal data convert .*mosi\.pkl OUT"):
            readers.read(path)
