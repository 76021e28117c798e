"""Readers of a person's own pictures: of cases, and of a perception set, with their controls."""

import json

import numpy as np
import pytest
from tests.envs.cases.test_pictured import made_scin

from polymodal.chat.scripted import uniform
from polymodal.envs import cases
from polymodal.envs.artefacts.signs import PageReader
from polymodal.envs.cases import labelled
from polymodal.media import Image
from polymodal.systems.clinical_dialogue import data, recipe
from polymodal.systems.consulting import pictured, places
from polymodal.systems.readers import learned
from polymodal.systems.readers.pictures import Pictures
from polymodal.training.study import Book

OWN = data.pocket()
SPLITS = ("train", "train", "train", "val", "test", "test")
CLASSES = ("clear", "ridged")


def picture(path, ridged, seed, size=(40, 30)):
    pixels = np.random.default_rng(seed).normal(150, 20, (size[1], size[0], 3))
    pixels[:: 6 if ridged else 99] -= 90
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(Image(np.clip(pixels, 0, 255).astype(np.uint8)).encoded())


def written(root, n=72, *, kind="nail", poor=False):
    rows = []
    for i in range(n):
        d = i // 6 % 2
        picture(root / f"{i}.png", d, i)
        take = {"path": f"{i}.png", "class": CLASSES[d]} | ({"poor": i % 3 == 0} if poor else {})
        findings = {"cough": bool(uniform("c", i) < (0.7, 0.3)[d])}
        row = {
            "id": f"c{i}",
            "split": SPLITS[i % 6],
            "diagnosis": ("Malar", "Malbec")[d],
            "initial": "I cough.",
        }
        rows.append(
            row | {"findings": findings, "artefacts": {kind: take}, "tags": {"tone": "VI" if d else "I"}}
        )
    (root / "cases.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    return root


def book():
    made = Book(seed=0)
    made.sections["notes"] = []
    return made


def test_own_pictures_train_a_reader_that_is_tested_and_used(tmp_path, monkeypatch):
    monkeypatch.setattr(learned, "SEEN", 400)
    root, out = written(tmp_path / "data"), str(tmp_path / "out")
    (root / "4.png").write_bytes(b"no picture")  # of the test side
    clinic, found, _ = places.place(str(root), OWN, 6, seed=0)
    assert places.lessons(str(root), clinic, OWN) == {"nail": CLASSES}
    assert places.lessons(str(root), clinic, OWN, out) == {}  # an earlier run's are used
    assert places.trained(out) is None
    one = learned.lesson(str(root), "nail", CLASSES, out, epochs=1, seed=0)
    assert one["n"] == {"train": 36, "val": 12, "test": 23}
    assert [(side, why) for side, why, _ in one["lost"]] == [("test", "unsupported")]
    made = book()
    learned.told(made, {"reader/nail": one})
    good = made.estimates["reader of nails: good"]
    assert good.mean > 0.85
    assert (good.n, good.n_valid) == (24, 23)  # what is broken is counted
    assert made.estimates["reader of nails: trained on shuffled classes"].mean < good.mean
    assert made.estimates["reader of nails: good - the most frequent class"].low > 0
    assert made.legend["reader of nails: the most frequent class"]["role"] == "baseline"
    assert {"reader of nails: skin I, good", "reader of nails: skin VI, good"} <= made.estimates.keys()
    assert "copies worn here" in made.sections["notes"][0]
    assert made.sections["notes"][1].endswith(f"unsupported: 1, first {root / '4.png'}.")
    assert places.trained(out) == out
    known = places.known(clinic, OWN, out)
    assert set(known[0]) == {"nail"}
    rows = pictured.consulted(
        clinic, found, known, pictured.Setting(turns=3), arms=("multimodal", "blank"), seed=0
    )
    assert {row["invalid"] for row in rows if row["case"] == "c4"} == {1, 0}
    upright = np.transpose(found[1].artefacts["nail"][0].image.pixels(), (1, 0, 2))
    assert known[0]["nail"](upright).q  # photographs lie or stand


def test_a_finished_run_is_a_doctor_with_its_tables(tmp_path):
    clinic = cases.tables(written(tmp_path / "data", 24))
    assert places.source(None, str(tmp_path), OWN) is None
    places.keep(OWN, tmp_path)
    assert places.source(None, str(tmp_path), OWN) is None  # the generated clinic, as ever
    assert places.trained(str(tmp_path)) is None
    places.keep(clinic, tmp_path)
    at = places.source(None, str(tmp_path), OWN)
    assert at == str(tmp_path / "model")
    assert places.source("else", str(tmp_path), OWN) == "else"
    tables, found, _ = places.place(at, OWN, 3, seed=0)
    assert [one.name for one in tables.diseases] == ["Malar", "Malbec"]
    assert (tables.artefacts, dict(found[0].artefacts)) == ((), {})  # nails are not drawn
    small = Pictures(np.zeros((20, 8, 8, 3), np.uint8), np.arange(20) % 2, np.zeros(20, int))
    reader = learned.learn("nail", ("flat", "ridged"), small, small, seed=0, epochs=1)
    learned._keep(reader, str(tmp_path), "nail")
    with pytest.raises(ValueError, match=r"nails at .* knows flat, ridged; the clinic has clear, ridged"):
        places.known(clinic, OWN, str(tmp_path))
    with pytest.raises(ValueError, match="knows flat, ridged"):
        places.checked((), (), clinic, folder=str(tmp_path))


def test_too_few_pictures_are_said_and_asked_for_in_words(tmp_path):
    root = written(tmp_path, 30)  # 15 of train
    clinic = cases.tables(root)
    assert places.lessons(str(root), clinic, OWN) == {}
    told = places.about(recipe.Config(data=str(root), doctor=("bayes",)), clinic, OWN, 9)
    assert told.endswith(
        "nail (15 labelled pictures of 2 classes to learn from): the exact doctor asks in words."
    )
    for i in range(30):
        (root / f"{i}.png").unlink() if i % 6 < 3 else None
    one = learned.lesson(str(root), "nail", CLASSES, str(tmp_path), epochs=1, seed=0)
    assert one["few"]
    made = book()
    learned.told(made, {"reader/nail": one})
    assert made.estimates == {}
    assert "0 pictures could be read, too few to train on" in made.sections["notes"][0]


def test_kinds_that_are_drawn_or_printed_here_keep_their_readers(tmp_path):
    assert places.lessons(None, OWN, OWN) == {"lesion": (), "trace": ()}
    places.keep(OWN, tmp_path)
    assert places.lessons(str(tmp_path / "model"), OWN, OWN) == {"lesion": (), "trace": ()}
    assert places.lessons(None, None, OWN) == {}
    assert PageReader.kind in places.known(OWN, OWN, None)[0]
    assert pictured.kept_at("out", "../../etc/x").parent == pictured.kept_at("out", "nail").parent
    with pytest.raises(FileNotFoundError, match="no reader of lesions"):
        places.known(OWN, OWN, str(tmp_path))


def test_quality_that_is_told_is_learned_and_not_made_up():
    def one(i, poor):
        pixels = np.random.default_rng(i).integers(0, 255, (20, 20, 3)).astype(np.uint8)
        return labelled.Labelled(Image(pixels), "nail", "clear", poor, str(i), "train", "")

    some = learned._pictures(
        np.zeros((3, 4, 4, 3), np.uint8), [one(0, True), one(1, False), one(2, None)], CLASSES
    )
    assert some.poor.tolist() == [1, 0, -1]
    both = learned._with_worn(some, np.random.default_rng(0))
    assert (len(both.pixels), both.poor.tolist()) == (6, [0, 0, 0, 1, 1, 1])


def test_shuffled_classes_keep_their_shares_within_every_class():
    target = np.array([0] * 40 + [1] * 20)
    new = learned._shuffled(target, np.random.default_rng(0))
    assert [new[:40].sum(), new[40:].sum()] == [13, 7]


def scin(root):
    lines, labels = ["case_id,image_1_path,image_2_path,image_3_path,fitzpatrick_skin_type"], []
    for i in range(50):
        picture(root / "images" / f"{i}.png", i % 2, i)
        lines.append(f"{i},images/{i}.png,,,FST{i % 3 + 1}")
        labels.append(f"{i},{{'{('Acne', 'Eczema')[i % 2]}': 1.0}}")
    lines += ["r,images/0.png,,,FST1", "n,images/1.png,,,FST1", "e,,,,FST1"]
    labels = ["case_id,weighted_skin_condition_label", *labels, "r,{'Rare': 1}"]
    (root / "scin_cases.csv").write_text("\n".join(lines))
    (root / "scin_labels.csv").write_text("\n".join(labels))
    return root


def test_a_perception_set_alone_trains_and_tests_a_reader(tmp_path, monkeypatch):
    monkeypatch.setattr(learned, "SEEN", 100)
    root = scin(tmp_path / "scin")
    run, sections = Kept(tmp_path), {}
    run.section = sections.__setitem__
    found = learned.looked(recipe.Config(data=str(root), epochs=1), run, run.job, recipe.LABEL, recipe.CLAIMS)
    assert {f"reader of lesions: skin FST{n}, good" for n in (1, 2, 3)} <= found.keys()
    assert {"reader of lesions: balanced accuracy", "reader of lesions: ECE"} <= found.keys()
    assert found["reader of lesions: good"].n_groups == found["reader of lesions: good"].n == 10
    assert "no consultation is held" in sections["about"]["text"]
    assert sections["about"]["warning"] == recipe.LABEL
    assert (
        sections["notes"][-1] == "Left out: 1 pictures without a class, 1 pictures of a class with too few."
    )
    assert sections["invalid"] == [{"reason": "row: missing", "n": 1, "first": "scin_cases.csv:54"}]
    assert {verdict for _, verdict, _ in run.claims} == {"undetermined"}
    assert places.trained(str(tmp_path)) == str(tmp_path)
    with pytest.raises(
        ValueError, match=r"0 labelled pictures to train on; 20 of 2 classes are wanted, 5 of each"
    ):
        learned.lesson(str(made_scin(tmp_path / "few")), "", (), "", epochs=1, seed=0)


class Kept:
    """A run that does its jobs at once."""

    def __init__(self, folder):
        self.folder = folder

    def job(self, kind, config, *given):
        assert kind == "reader"
        return learned.lesson(config.data, *given, epochs=config.epochs, seed=config.seed)

    def map(self, work, jobs, *, name):
        return {key: work(*args) for key, args in jobs.items()}

    def finish(self, estimates, claims, prints):
        self.claims = claims
        assert len(prints["pictures"]) == 32
