"""The system end to end: a small run, killed and resumed; people's files; wrong words."""

import json
from functools import partial
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from polymodal.chat import uniform
from polymodal.cli.tables import outcome
from polymodal.envs import cases as files
from polymodal.envs.artefacts import classes_of
from polymodal.envs.clinic import Reading, Sign
from polymodal.envs.doctor import BayesDoctor
from polymodal.envs.play import play
from polymodal.envs.trace import ReplayError, replay
from polymodal.media import Image, MediaError
from polymodal.runs import Run, read_result, report
from polymodal.systems.clinical_dialogue import data, recipe
from polymodal.systems.consulting import climbing, pictured, seats, talked
from polymodal.testing import check_recipe

REAL = Path(__file__).parents[3] / "shared" / "data" / "agentclinic"
BAD = "scripted:say?text=%7B"  # a lone brace, at every call
SMALL = {"cases": 6, "seeds": 1, "epochs": 1, "seed": 40, "doctor": ("bayes", seats.FORGETS, seats.MINDS)}
KINDS = ("lesion", "trace", "page")


DRAWN = {}  # what is on each picture that was drawn, by digest


class Ideal:
    """A reader that is right .97 of good takes and .60 of poor ones: claims hold with few cases."""

    def __init__(self, kind):
        self.kind, self.classes = kind, classes_of(kind)
        self.prior = np.full(5, 0.2)
        self.confusion = {poor: self.table(right) for poor, right in ((False, 0.97), (True, 0.60))}

    @staticmethod
    def table(right):
        return np.full((5, 5), (1 - right) / 4) * (1 - np.eye(5)) + np.eye(5) * right

    @classmethod
    def from_pretrained(cls, folder):
        assert (folder / "model.safetensors").is_file()
        return cls(folder.name)

    def __call__(self, image):
        digest = Image(image).digest()
        if digest not in DRAWN:
            return Reading(self.kind, self.classes, ())
        c, poor = DRAWN[digest]
        draw = uniform("read", digest) / (1 - self.confusion[poor][0, 0])
        said = (c + 1 + int(4 * draw)) % 5 if draw < 1 else c
        signs = (Sign(self.kind, self.classes[said], (0, 0, 9, 9)),)
        return Reading(self.kind, self.classes, tuple(self.confusion[poor][said]), float(poor), signs)


def drawn(kind, cls, *, seed, poor, take):
    """A picture that is its seed and take alone, remembered with what it is of."""
    pixels = np.full((24, 32, 3), (KINDS.index(kind), take, poor), np.uint8)
    pixels[0, :8] = np.frombuffer(np.array([seed] * 3, np.int64).tobytes(), np.uint8).reshape(8, 3)
    picture = Image(pixels)
    DRAWN[picture.digest()] = classes_of(kind).index(cls), poor
    return picture


@pytest.fixture(scope="module", autouse=True)
def small():
    """Less to draw and to train on; readers that are ideal; two jobs of cases."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(pictured, "taught", partial(pictured.taught, n=48))
        patch.setattr(pictured, "HELD", 40)
        patch.setattr(seats, "SEEN", 3)
        patch.setattr(pictured, "picture", drawn)
        patch.setattr(pictured, "PictureReader", Ideal)
        patch.setattr(pictured, "read_page", Ideal("page"))
        patch.setattr(climbing, "rungs", partial(climbing.rungs, n=300))
        patch.setattr(seats, "SEEN", 3)
        patch.setattr(recipe, "CHUNK", SMALL["cases"] // 2)
        yield


@pytest.fixture(scope="module")
def ran(tmp_path_factory):
    """Two runs of one configuration: one undisturbed, one killed in its last job and resumed."""
    folders = []

    def run(config, run):
        folders.append(run.folder)
        if len(folders) == 1:
            return recipe.run(config, run)
        job, done = recipe.job, []

        def killed(kind, *given):
            done.append(kind)
            if done.count("cases") == 2:
                raise KeyboardInterrupt
            return job(kind, *given)

        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(recipe, "job", killed)
            with pytest.raises(KeyboardInterrupt):
                recipe.run(config, run)
        assert done == ["ladder"] + ["reader"] * 2 + ["cases"] * 2
        run.close()
        assert not run.finished
        return recipe.run(config, Run.resume(run.folder, config=config))

    stand_in = SimpleNamespace(
        **{name: getattr(recipe, name) for name in ("Config", "tiny", "full", "CLAIMS")}, run=run
    )
    check_recipe(stand_in, tmp_path_factory.mktemp("out"), options=SMALL)
    kept = [entry["key"] for entry in read_events(folders[1]) if entry["kind"] == "kept"]
    assert kept == ["ladder/40", "reader/lesion", "reader/trace", "cases/0"]
    return read_result(folders[0]), folders[0]


def read_events(folder):
    return rows(folder / "events.jsonl")


def rows(path):
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


def config(**options):
    return recipe.Config(**{**SMALL, **options})


def went(root, **options):
    """A run's result and its rows by doctor and arm."""
    wanted = config(**options)
    run = Run.create("clinical_dialogue", wanted, root=root)
    recipe.run(wanted, run)
    by = {}
    for row in rows(run.folder / "consultations.jsonl"):
        by.setdefault((row["doctor"], row["arm"]), []).append(row)
    return read_result(run.folder), by, run.folder


def test_no_number_is_alone_and_claims_follow_the_intervals(ran):
    result, _ = ran
    assert result.sections["about"]["warning"].startswith("For research, not for care")
    assert set(result.estimates) == set(result.sections["legend"])
    for name, one in result.estimates.items():
        assert one.low <= one.mean <= one.high, name
    assert sum(row.get("headline", False) for row in result.sections["legend"].values()) == 1
    verdicts = {claim["text"]: claim["verdict"] for claim in result.claims}
    assert len(verdicts) == len(recipe.CLAIMS)
    assert verdicts["history and artefacts are both needed"] == "reproduced"
    assert verdicts["questions directed by uncertainty beat fixed and random ones"] == "reproduced"
    assert verdicts["unsupported claims are all found, without false alarm"] == "reproduced"
    assert verdicts["late news reopens the history, and only where it may"] == "reproduced"
    assert verdicts["doctors and patients prefer it"] == "undetermined"


def test_the_ladder_is_in_order_and_near_the_page(ran):
    found = ran[0].estimates
    for t, known in zip((6, 10, 14), zip(*climbing.KNOWN.values(), strict=True), strict=True):
        for arm, value in zip(climbing.KNOWN, known, strict=True):
            assert abs(found[f"T={t}: {arm}"].mean - value) <= 0.08, (t, arm)
        assert found[f"T={t}: multimodal - text"].low > 0
        assert found[f"T={t}: multimodal - frequent"].low > 0
        assert found[f"T={t}: turns taken"].mean <= t
    assert found["T=14: turns saved by stopping"].low > 0.15
    assert found["poor 0 to .6: loss saved by retakes"].low > 0
    assert 0.08 < found["nothing asked"].mean < 0.24 < 0.74 < found["everything asked"].mean < 0.90


def test_controls_of_pictures_and_states(ran):
    result, folder = ran
    by = {}
    for row in rows(folder / "consultations.jsonl"):
        by.setdefault((row["doctor"], row["arm"]), {})[row["case"]] = row
    blank, text = by["bayes", "blank"], by["bayes", "text"]
    for case, row in text.items():
        assert blank[case]["p"] == pytest.approx(row["p"], abs=1e-12)
        assert (blank[case]["right"], blank[case]["asked"]) == (row["right"], row["asked"])
    assert (result.estimates["read: blank - text"].low, result.estimates["read: blank - text"].high) == (0, 0)
    artefacts = by["bayes", "artefacts"].values()
    assert not any(row["asked"] for row in artefacts)
    assert all(row["requested"] for row in artefacts)
    assert not any(row["retakes"] for row in by["bayes", "no retake"].values())
    assert all(
        row["asked"] + row["requested"] + row["retakes"] <= 10 for row in by["bayes", "multimodal"].values()
    )
    assert result.estimates["scrambled - plain, top-1"].low <= 0
    late, rigid = by[seats.MINDS, "late"], by[seats.MINDS, "rigid"]
    assert late.keys() == rigid.keys()
    assert [*late] == [f"pocket-40-{i}" for i in (0, 4, 5)]
    assert all("reopened" in row["flags"] and row["minded"] for row in late.values())
    assert not any("reopened" in row["flags"] for row in rigid.values())
    assert not [key for key in by if key[1] in ("late", "rigid") and key[0] != seats.MINDS]
    for (doctor, arm), some in by.items():
        if doctor != "bayes":
            assert not [row for row in some.values() if row["unfinished"] or row["malformed"]], (doctor, arm)
    for case, row in by[seats.FORGETS, "plain_matched"].items():
        assert row["calls"] <= by[seats.FORGETS, "state"][case]["calls"]
    assert result.estimates["planted claims found"].n > 0
    assert result.estimates["false alarms"].n > 10


def test_what_is_kept_can_be_played_again_and_says_what_it_is(ran):
    _, folder = ran
    records, episodes = rows(folder / "records.jsonl"), []
    for line in (folder / "transcripts.jsonl").read_text(encoding="utf-8").splitlines(keepends=True):
        if json.loads(line)["n"] == 0:
            episodes.append([])
        episodes[-1].append(line)
    left = iter(episodes)
    talks = [[line for _ in range(1 + (one["arm"] in seats.AGAIN)) for line in next(left)] for one in records]
    assert next(left, None) is None
    shown = [(row["doctor"], row["arm"]) for row in records]
    assert {shown.count(key) for key in shown if key[1] not in ("late", "rigid")} == {seats.SEEN}
    states = rows(folder / "states.jsonl")
    assert [one["state"] for one in states] == [
        json.loads(step) for lines in talks for line in lines for step in json.loads(line)["steps"]
    ]
    place, news = recipe.env(config()), recipe.room(config(), *recipe.place(config())[:2], talked.Late)
    for record, lines in zip(records, talks, strict=True):
        assert json.loads(lines[0])["episode"]["options"]["case"] == record["case"]
        late = record["arm"] in ("late", "rigid")
        assert replay(lines, news if late else place) == len(lines)
        if late:
            with pytest.raises(ReplayError):
                replay(lines, place)
    assert {row["note"] for row in records} == {"For research, not for care."}
    assert {row["arm"] for row in records} == {*seats.ARMS}
    turns = [json.loads(line)["observation"]["image"] for lines in episodes for line in lines]
    shown = {one["picture"] for one in turns if one["size"] != [0, 0]}
    assert len(shown) > 3
    assert all((folder / "media" / f"{digest}.png").is_file() for digest in shown)


def test_the_terminal_shows_what_matters_and_counts_the_rest(ran, capsys):
    result, folder = ran
    outcome(folder)
    said = capsys.readouterr().out
    assert "T=10: multimodal - text" in said
    assert "GTPA@1" not in said
    folded = sum("minor" in one and one["minor"] for one in result.sections["legend"].values())
    assert f"{folded} more scores are in result.json" in said


def test_the_readers_of_a_run_sit_in_another(ran, tmp_path):
    first, folder = ran
    again, arms = (f"bayes:{folder}", seats.MINDS), ("state?gap=eig", f"state?memory={folder}")
    result, by, second = went(tmp_path, doctor=again, arm=arms, turns=(10,), seeds=1, cases=4)
    assert [row["visits"] for row in by[seats.MINDS, arms[1]]] == [2, 2, 2, 1]  # the last was not kept
    said = f"{seats.MINDS} {arms[1]}: 1 of 4 consultations began as a first visit"
    assert any(note.startswith(said) for note in result.sections["notes"])
    assert not (second / "model").exists()
    now = {row["case"]: row["p"] for row in by["bayes", "multimodal"]}
    before = {
        row["case"]: row["p"]
        for row in rows(folder / "consultations.jsonl")
        if (row["doctor"], row["arm"]) == ("bayes", "multimodal")
    }
    assert len(now) == 4
    assert now.items() <= before.items()
    assert (
        {"T=10: multimodal", "T=10: turns saved by stopping"}
        <= result.estimates.keys()
        <= first.estimates.keys() | {*result.estimates}
    )
    assert not [name for name in result.estimates if name.startswith("reader of")]
    doctor = recipe.policy(config(doctor=(f"bayes:{folder}",), stop="learned"))
    assert isinstance(doctor, BayesDoctor)
    assert doctor.tau < 0.9 < 10 * doctor.epsilon  # ends sooner than at .90 and .01
    last = list(play(recipe.env(config()), doctor, seed=0, limit=60, options={"case": 1}))[-1]
    assert last.terminated
    assert last.info["requested"]
    page = Path(report(second)).read_text(encoding="utf-8")
    for words in ("For research, not for care", "Cost of the arms", "state?gap=eig"):
        assert words in page
    assert any(one.name in page for one in data.pocket().diseases)
    assert "not for care" in (second / "study" / "osce.json").read_text(encoding="utf-8")
    assert files.clinic(folder / "model").diseases == data.pocket().diseases


OSCE = {
    "Patient_Actor": {
        "Demographics": "A man of 40.",
        "History": "The ache began in May. It is worse at night. He takes no medicines and has no allergies.",
        "Symptoms": {"Primary_Symptom": "Ache", "Secondary_Symptoms": ["Red hue", "No cough"]},
    },
    "Physical_Examination_Findings": {"Vital_Signs": {"Pulse": "72"}},
    "Test_Results": {"Blood_Tests": {"CRP": {"Findings": "12"}}, "Scan": {"Findings": "a shadow"}},
    "Correct_Diagnosis": "Orvane fever",
}


@pytest.fixture
def written(tmp_path):
    """AgentClinic's lines: two cases, and one without a diagnosis."""
    lines = [OSCE, {**OSCE, "Correct_Diagnosis": "Telmic itch"}, {**OSCE, "Correct_Diagnosis": ""}]
    text = "\n".join(json.dumps({"OSCE_Examination": one}) for one in lines)
    (tmp_path / "agentclinic_made.jsonl").write_text(text, encoding="utf-8")
    return tmp_path


def test_written_cases_and_a_model_that_says_nothing_valid(written, tmp_path):
    """Every case still ends, and what was broken is counted."""
    options = {"data": str(written), "doctor": ("bayes", BAD), "turns": (3,), "rater": BAD}
    result, by, folder = went(tmp_path / "out", arm=("state", "plain", "plain_matched"), **options)
    assert result.sections["invalid"] == [
        {"reason": "case: diagnosis", "n": 1, "first": "agentclinic_made.jsonl:3"}
    ]
    assert result.estimates["tests found by their own name"].mean == 1
    assert result.estimates["tests found by their own name"].n == 22  # names, spaced names and parts
    assert result.estimates["diagnoses spoken by the patient"].mean == 0
    assert 0 < result.estimates["checklist: fact recall"].mean <= 1
    assert not (folder / "model").exists()
    for arm in ("state", "plain", "plain_matched"):
        some = by[BAD, arm]
        assert [row["case"] for row in some] == ["made-1", "made-2"]
        assert [row["right"] for row in some] == [0, 0]
        assert all(row["malformed"] > 2 for row in some)
        assert all(row["unfinished"] for row in some)
        assert not any(row["reason"] for row in some)  # ended, and not by the cut
        assert any(note.startswith(f"{BAD} {arm}: 2 of 2 consultations") for note in result.sections["notes"])
        assert result.estimates[f"{BAD} {arm}: top1"].mean == 0
    records = rows(folder / "records.jsonl")
    assert len(records) == 6
    assert all(row["phase"] == "closed" and row["differential"] == [] for row in records)
    assert replay((folder / "transcripts.jsonl").read_text().splitlines(), recipe.env(config(**options))) > 20


@pytest.mark.skipif(not REAL.is_dir(), reason="AgentClinic's file is not here")
def test_the_real_file(tmp_path):
    result, by, _ = went(tmp_path, data=str(REAL), cases=3, doctor=("bayes",), patient="lexical")
    assert {key: len(some) for key, some in by.items()} == {
        ("list", arm): 3 for arm in ("checklist", "random", "tests")
    }
    assert result.estimates["checklist: fact recall"].mean > result.estimates["random: fact recall"].mean
    assert result.estimates["diagnoses spoken by the patient"].mean == 0
    assert result.estimates["tests found by their own name"].mean == 1
    with pytest.raises(ValueError, match="no tables"):
        recipe.policy(config(data=str(REAL)))


def test_a_clinic_of_ones_own(tmp_path):
    """clinic.json and cases.jsonl, without pictures: the exact doctor in text, and the script that minds."""
    clinic = {
        "diseases": [{"name": "Zorn", "prior": 0.5}, {"name": "Vell", "prior": 0.5}],
        "findings": [
            {"name": "glow", "question": "Do you glow?"},
            {"name": "hum", "question": "Do you hum?"},
        ],
        "frequency": {"Zorn": {"glow": 0.9, "hum": 0.1}, "Vell": {"glow": 0.1, "hum": 0.9}},
    }
    (tmp_path / "clinic.json").write_text(json.dumps(clinic))
    lines = [
        {"id": f"c{i}", "diagnosis": ("Zorn", "Vell")[i % 2], "initial": "I am unwell.",
         "findings": {"glow": i % 2 == 0, "hum": i % 2 == 1}} for i in range(4)
    ]  # fmt: skip
    (tmp_path / "cases.jsonl").write_text(
        "\n".join(map(json.dumps, [*lines, {**lines[0], "id": "x", "diagnosis": "Nix"}]))
    )
    options = {
        "data": str(tmp_path),
        "doctor": ("bayes", seats.MINDS),
        "turns": (4,),
        "arm": ("state",),
        "rater": BAD,
    }
    result, by, _ = went(tmp_path / "out", **options)
    assert [row["right"] for row in by["bayes", "text"]] == [1] * 4
    assert [row["top1"] for row in by[seats.MINDS, "state"]] == [1] * 4
    assert {key[1] for key in by} == {"text", "state"}
    rated = result.estimates[f"{seats.MINDS} state: same by the rater"]
    assert (rated.n, rated.n_valid) == (4, 0)
    assert result.sections["invalid"][0]["n"] == 1
    assert isinstance(recipe.policy(config(**options)), BayesDoctor)


@pytest.mark.parametrize(
    ("options", "error", "said"),
    [
        ({"arm": ("foo",)}, ValueError, "arm=foo: unknown; known: state, plain"),
        ({"arm": ("state?gap=x",)}, ValueError, r"gap=x is not known; known: gap=model\|eig calls"),
        ({"arm": ("plain?gap=eig",)}, ValueError, "known: no options"),
        ({"doctor": ("nosuch:model",)}, LookupError, "no kind of model in 'nosuch:model'"),
        ({"doctor": ("scripted:clinic?lies=1",)}, LookupError, "no option 'lies'"),
        ({"doctor": ("bayes:nowhere",)}, FileNotFoundError, "doctor=bayes:nowhere"),
        ({"patient": "nobody"}, LookupError, "no kind of model in 'nobody'"),
        ({"rater": "scripted:clinic"}, LookupError, "no script 'clinic'"),
        ({"data": "nowhere"}, FileNotFoundError, "nowhere: no such file"),
        ({"library": "nowhere"}, (MediaError, OSError), "nowhere: no such file"),
    ],
)  # fmt: skip
def test_wrong_words_are_named_before_anything_is_done(options, error, said, tmp_path):
    with pytest.raises(error, match=said):
        recipe.run(config(**options), Run.create("clinical_dialogue", config(), root=tmp_path))
    assert not list(tmp_path.glob("*/jobs/*"))
