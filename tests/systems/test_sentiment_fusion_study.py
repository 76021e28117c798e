"""A person's own data, in each layout, end to end; and what happens when it is not as it should be."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import soundfile

from polymodal.runs import Run, read_result
from polymodal.systems.sentiment_fusion import recipe
from polymodal.testing import check_recipe

DIGITS = Path(__file__).parents[2] / "../shared/data/fsdd"
SHORT = replace(recipe.tiny(), steps=20, seeds=1, fusion=("concat",))


def ran(config, root, accept=()):
    run = Run.create("sentiment_fusion", config, root=root)
    run.accept = tuple(accept)
    recipe.run(config, run)
    return read_result(run.folder), run.folder


@pytest.fixture(scope="module")
def digits(tmp_path_factory):
    """A few of the spoken digits, linked."""
    if not DIGITS.is_dir():
        pytest.skip("no spoken digits beside the project")
    folder = tmp_path_factory.mktemp("digits")
    for wav in (DIGITS / "recordings").glob("*.wav"):
        _, speaker, index = wav.stem.split("_")
        if speaker in ("george", "lucas", "nicolas", "theo") and int(index) < 6:
            (folder / wav.name).symlink_to(wav.resolve())
    config = replace(SHORT, data=str(folder), protocol="speaker", steps=120, absent=0.1, lr=1e-2)
    # in so few samples one number of the sound tells a digit
    return ran(config, tmp_path_factory.mktemp("out"), accept=["label column"])


def test_digits_are_judged_on_speakers_never_heard(digits):
    result, folder = digits
    found = result.estimates
    assert found["concat"].n == 240
    assert found["concat"].n_groups == 4
    assert found["concat"].mean > found["only:audio"].mean + 0.2
    assert found["only:image"].mean > 0.7
    assert found["shuffle:image"].mean < found["concat"].mean
    assert found["random folds, only:audio"].mean >= found["only:audio"].mean
    assert found["majority"].mean < 0.2
    assert (folder / "model" / "model.safetensors").exists()
    assert result.sections["notes"][0] == "4 folds by group"


def test_digits_leave_pictures_and_sounds_to_look_at(digits):
    result, folder = digits
    example = result.sections["examples"][0]
    assert {part["kind"] for part in example["parts"].values()} == {"audio", "image"}
    for part in example["parts"].values():
        assert (folder / part["path"]).stat().st_size > 0
    assert {row["group"] for row in result.sections["groups"]} >= {"theo", "class 7"}


def test_digit_model_predicts_from_sound_alone(digits):
    from polymodal.media import Audio, Sample

    _, folder = digits
    new = [Sample("new", {"audio": Audio(DIGITS / "recordings" / "3_theo_40.wav")})]
    (row,) = recipe.predict(folder / "model", new)
    assert row["present"] == ["audio"]
    assert sum(row["probabilities"].values()) == pytest.approx(1)
    assert set(row["probabilities"]) == set("0123456789")


def tables(folder, scores=False, n=90, **columns):
    """Two feature tables that share an id."""
    rng = np.random.default_rng(0)
    folder.mkdir(exist_ok=True)
    y = rng.integers(3, size=n)
    label = [f"{v + 0.5 * rng.normal():.3f}" for v in y] if scores else ["abc"[v] for v in y]
    rows = {
        "id": [f"u{i}" for i in range(n)],
        "who": [f"p{i % 4}" for i in range(n)],
        "label": label,
    } | columns
    for name, width in (("text", 4), ("audio", 3)):
        x = rng.normal(size=(n, width))
        x[:, :3] += 1.5 * np.eye(3)[y]
        extra = rows if name == "text" else {"id": rows["id"]}
        heads = [*extra, *(f"x{j}" for j in range(width))]
        lines = [",".join([*(str(extra[k][i]) for k in extra), *map(str, x[i])]) for i in range(n)]
        (folder / f"{name}.csv").write_text("\n".join([",".join(heads), *lines]) + "\n")
    return folder


COLUMNS = "label:label,group:who"


def test_feature_tables_and_a_run_taken_up_again(tmp_path):
    config = replace(SHORT, data=str(tables(tmp_path / "t")), columns=COLUMNS)
    result, folder = ran(config, tmp_path)
    before = (folder / "result.json").read_bytes()
    for file in sorted((folder / "jobs").glob("*.json"))[::5]:  # as if killed before these were done
        file.unlink()
    recipe.run(config, Run.resume(folder, config=config))
    assert (folder / "result.json").read_bytes() == before
    assert result.estimates["concat"].mean > 0.7
    assert result.sections["notes"][0] == "4 folds by group"


def test_contract_of_a_recipe(tmp_path):
    options = {
        "data": str(tables(tmp_path / "t")),
        "columns": COLUMNS,
        "steps": 10,
        "seeds": 2,
        "fusion": ("concat",),
    }
    run = check_recipe(recipe, tmp_path, options=options)
    assert run.finished


def test_scores(tmp_path):
    config = replace(SHORT, data=str(tables(tmp_path / "t", scores=True)), columns=COLUMNS)
    result, _ = ran(config, tmp_path)
    assert result.estimates["concat"].better == "lower"
    assert result.estimates["Pearson"].mean > 0.3
    assert result.estimates["majority"].mean > result.estimates["concat"].mean - 0.2
    assert "accuracy where answered" not in result.estimates


def iemocap(folder):
    """Three sessions of two speakers, twelve turns each; what is said goes with the emotion."""
    says = {"ang": "go away now", "sad": "it is all lost", "neu": "the train leaves at five"}
    for session in (1, 2, 3):
        home = folder / f"Session{session}" / "dialog"
        (home / "EmoEvaluation").mkdir(parents=True)
        (home / "transcriptions").mkdir()
        labels, spoken = [], []
        for i in range(24):
            turn, code = f"Ses0{session}F_impro01_{'FM'[i % 2]}{i:03d}", [*says, "xxx"][i // 2 % 4]
            labels.append(f"[{i}.0 - {i}.9]\t{turn}\t{code}\t[2.5, 2.5, 2.5]")
            spoken.append(f"{turn} [00{i}.0-00{i}.9]: {says.get(code, 'hm')} {session}{i}")
        (home / "EmoEvaluation" / f"Ses0{session}F_impro01.txt").write_text("\n".join(labels) + "\n")
        (home / "transcriptions" / f"Ses0{session}F_impro01.txt").write_text("\n".join(spoken) + "\n")
    return folder


def test_the_paper_s_claim_is_judged_where_its_data_is_given(tmp_path):
    config = replace(SHORT, data=str(iemocap(tmp_path / "IEMOCAP")), protocol="session")
    result, _ = ran(config, tmp_path, accept=["label column"])  # each word here tells
    assert result.estimates["IEMOCAP accuracy"].n == 54
    assert result.claims[0]["verdict"] != "undetermined" or "no interval" in result.claims[0]["evidence"]
    assert {"reason": "emotion xxx", "n": 18, "first": "Ses01F_impro01_F006"} in result.sections["invalid"]
    assert result.sections["notes"][0] == "3 folds by session"
    assert {row["group"] for row in result.sections["groups"]} >= {"1F", "3M", "sex F", "class angry"}
    random, _ = ran(replace(config, protocol="random"), tmp_path, accept=["label column", "crossing group"])
    assert "IEMOCAP accuracy" not in random.estimates


def test_an_official_split_whose_speakers_recur(tmp_path):
    head = (
        "Sr No.,Utterance,Speaker,Emotion,Sentiment,Dialogue_ID,Utterance_ID,Season,Episode,StartTime,EndTime"
    )
    for s, split in enumerate(("train", "dev", "test")):
        lines = [head]
        for i in range(24):
            said, emotion = [("How lovely this is", "joy"), ("I hate waiting here", "anger")][i % 2]
            clock = [f"00:{10 * s + i // 4:02d}:{5 * (i % 4) + e:02d},000" for e in (0, 4)]
            who = ["Ross", "Rachel"][i // 2 % 2]
            lines.append(
                f'{i},{said} {s}{i},{who},{emotion},x,{i // 4},{i % 4},1,1,"{clock[0]}","{clock[1]}"'
            )
        (tmp_path / f"{split}_sent_emo.csv").write_text("\n".join(lines) + "\n")
    result, _ = ran(replace(SHORT, data=str(tmp_path), parts=("text",)), tmp_path / "out", ["label column"])
    assert result.sections["notes"][0] == "one split, official:split"
    assert "crossing speaker" in {found["kind"] for found in result.sections["findings"]}
    assert result.estimates["concat"].n == 24


def raw(folder, spoil=True):
    """Text, sound and pictures in polymodal's layout; some of it broken."""
    rng = np.random.default_rng(0)
    (folder / "media").mkdir(parents=True)
    rows = []
    for i in range(48):
        y = i % 2
        wave = 0.3 * np.sin(2 * np.pi * (150 + 100 * y) * np.arange(2400) / 8000) + rng.normal(0, 0.02, 2400)
        soundfile.write(folder / f"media/{i}.wav", wave, 8000)
        said = f"{['what a sad day', 'how glad we are'][y]} {i}"
        row = {"id": f"s{i:02d}", "group": f"g{i // 8}", "text": said, "audio": f"media/{i}.wav"}
        rows.append(row | {"target": ["sad", "glad"][y], "tags": {"sex": "fm"[i // 8 % 2]}})
    if spoil:
        (folder / "media/0.wav").write_bytes(b"RIFF....WAVE")
        soundfile.write(folder / "media/1.wav", np.zeros(0), 8000)
        (folder / "media/2.wav").unlink()
        rows[3].pop("audio")
        rows[4]["target"] = "alone"
        rows[5]["target"] = None
    lines = [json.dumps(row) for row in rows] + (["{broken"] if spoil else [])
    (folder / "samples.jsonl").write_text("\n".join(lines) + "\n")
    return folder


def test_raw_media_with_broken_files_are_counted_and_used(tmp_path):
    config = replace(SHORT, data=str(raw(tmp_path / "d")))
    result, _ = ran(config, tmp_path, accept=["label column"])
    lost = {row["reason"]: row["n"] for row in result.sections["invalid"]}
    assert lost["no target"] == 1
    assert lost["audio: missing"] == 1
    assert lost["audio: not given"] == 1
    assert sum(n for reason, n in lost.items() if reason in ("audio: broken", "audio: empty")) == 2
    assert sum(lost.values()) == 6  # and the row that is no JSON
    assert result.estimates["concat"].n == 46
    assert result.estimates["char n-grams"].mean > 0.9
    assert "class 'alone' has one member: 1 samples left out" in result.sections["notes"]
    assert {row["group"] for row in result.sections["groups"]} >= {"sex f", "sex m", "class glad"}


def test_one_part_of_many(tmp_path):
    config = replace(
        SHORT, data=str(raw(tmp_path / "d", spoil=False)), parts=("text",), text="letters", steps=4
    )
    result, _ = ran(config, tmp_path)
    assert "only:text" not in result.estimates
    assert "shuffled targets" in result.estimates
    with pytest.raises(ValueError, match="part 'smell' is in no sample; the data has audio, text"):
        ran(replace(config, parts=("smell",)), tmp_path)


def test_two_hours_of_sound_meet_the_limit(tmp_path):
    from polymodal.media import Audio, Limits, MediaError

    soundfile.write(tmp_path / "long.wav", np.zeros(8000 * 3, np.int16), 8000)
    with pytest.raises(MediaError, match="the limit is 2 s"):
        Audio(tmp_path / "long.wav", limits=Limits(seconds=2)).wave()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"protocol": "hospital"}, "has no tag 'hospital'"),
        ({"columns": "label:label,group:mood"}, "column 'who' holds text: name what it is"),
        ({"fusion": ("glue",)}, "unknown fusion 'glue'; known: concat"),
        ({"data": "nowhere"}, "nowhere: no such file or folder"),
    ],
)
def test_what_was_asked_for_and_is_not_there(tmp_path, change, message):
    config = replace(SHORT, data=str(tables(tmp_path / "t")), columns=COLUMNS)
    with pytest.raises((ValueError, OSError, RuntimeError), match=message):
        ran(replace(config, **change), tmp_path)


def test_tables_that_differ_name_both_counts(tmp_path):
    folder = tables(tmp_path / "t")
    lines = (folder / "audio.csv").read_text().splitlines()
    (folder / "audio.csv").write_text("\n".join(lines[:-2]) + "\n")
    with pytest.raises(ValueError, match=r"90.*88|88.*90"):
        ran(replace(SHORT, data=str(folder), columns=COLUMNS), tmp_path)


def test_too_few_groups_and_none_at_all(tmp_path):
    two = tables(tmp_path / "two", who=[f"p{i % 2}" for i in range(90)])
    with pytest.raises(ValueError, match=r"at least 3 groups .*found 2"):
        ran(replace(SHORT, data=str(two), columns=COLUMNS), tmp_path)
    none = tables(tmp_path / "none", who=[i % 7 for i in range(90)])  # a feature like any other
    result, _ = ran(
        replace(SHORT, data=str(none), columns="label:label,id:id"), tmp_path, accept=["label column"]
    )
    assert "split: ungrouped" in result.sections["notes"]


def test_a_column_of_nothing_and_cells_of_nothing_are_left_out_and_named(tmp_path):
    folder = tables(tmp_path / "t")
    lines = (folder / "audio.csv").read_text().splitlines()
    lines = [f"{line},{'flat,void' if i == 0 else '7,nan'}" for i, line in enumerate(lines)]
    lines[5] = lines[5].replace(lines[5].split(",")[1], "inf", 1)
    (folder / "audio.csv").write_text("\n".join(lines) + "\n")
    result, _ = ran(replace(SHORT, data=str(folder), columns=COLUMNS), tmp_path)
    (note,) = [n for n in result.sections["notes"] if n.startswith("part")]
    assert note.startswith("part 'audio': columns left out, ")
    assert note.count(",") == 2


def test_mixed_targets_show_five_of_them(tmp_path):
    rows = [
        json.dumps({"id": f"{i}", "group": f"g{i % 6}", "x": [float(i), 1.0 - i], "target": t})
        for i, t in enumerate(["a", "b"] * 15)
    ]
    rows += [
        json.dumps({"id": f"n{i}", "group": f"g{i % 6}", "x": [1.0, 2.0], "target": i + 0.5})
        for i in range(6)
    ]
    (tmp_path / "samples.jsonl").write_text("\n".join(rows) + "\n")
    with pytest.raises((ValueError, RuntimeError), match=r"0\.5, 1\.5, 2\.5, 3\.5, 4\.5"):
        ran(replace(SHORT, data=str(tmp_path)), tmp_path / "out", accept=["label column"])


def test_a_copy_across_speakers_stops_the_run(tmp_path):
    folder = tables(tmp_path / "t")
    for name in ("text", "audio"):
        lines = (folder / f"{name}.csv").read_text().splitlines()
        twin = (
            lines[1].replace("u0,p0", "twin,p4", 1) if name == "text" else lines[1].replace("u0", "twin", 1)
        )
        (folder / f"{name}.csv").write_text("\n".join([*lines, twin]) + "\n")
    config = replace(SHORT, data=str(folder), columns=COLUMNS)
    with pytest.raises(ValueError, match="--accept") as caught:
        ran(config, tmp_path)
    kinds = [k for k in ("duplicate", "shared part") if f'"{k}"' in str(caught.value)]
    result, _ = ran(config, tmp_path, accept=kinds)
    assert [f"audit error accepted: {kind}" for kind in kinds] == result.sections["notes"][-len(kinds) :]
