import json
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
from typer.testing import CliRunner, Result

from polymodal.cli.study import study as verbs
from polymodal.judge.people.study import check
from polymodal.judge.people.verdicts import EVENTS, RATINGS, TRIALS
from polymodal.media import Image
from polymodal.metrics import mean
from polymodal.runs.result import Result as Run
from tests.judge.people.studies import raw


def call(*words: str | Path) -> Result:
    return CliRunner().invoke(verbs, [str(word) for word in words], catch_exceptions=False)


def test_from_new_to_report(tmp_path: Path) -> None:
    made = call("new", tmp_path)
    assert made.exit_code == 0
    file = tmp_path / "study.json"
    assert "2 units" in made.output
    with pytest.raises(FileExistsError):
        call("new", tmp_path)
    assert call("check", file).output == "nothing found\n"
    told = call("plan", file).output
    for word in ("lambda", "2 to 2", "linked", "yes", "efficiency E", "1.0000"):
        assert word in told
    assert (
        "2 simulated raters, 4 places submitted, 12 answers kept"
        in call("bots", file, "--people", "2").output
    )
    written = call("export", file, "--to", tmp_path / "out").output
    assert "verdicts.jsonl" in written
    names = {path.name for path in (tmp_path / "out").iterdir()}
    assert names == {
        "verdicts.jsonl", "messages.jsonl", "trials.parquet", "ratings.parquet", "events.parquet",
        "codebook.json",
    }  # fmt: skip
    for name, columns, n in (("ratings", RATINGS, 12), ("trials", TRIALS, 0)):
        table = pq.read_table(tmp_path / "out" / f"{name}.parquet")
        assert table.column_names == list(columns)
        assert table.num_rows == n
    assert pq.read_schema(tmp_path / "out" / "events.parquet").names == list(EVENTS)
    assert json.loads((tmp_path / "out" / "codebook.json").read_text())["study"]["id"] == "example"
    report = call("report", file).output
    for word in (
        "places done",
        "raters that are simulated",
        "agreement",
        "everybody",
        "without",
        "flags",
        "minimum",
    ):
        assert word in report, report


def test_check_ends_with_one_where_something_is_wrong(tmp_path: Path) -> None:
    value = raw()
    value["pages"][1]["rubric"] = "other"
    (tmp_path / "study.json").write_text(json.dumps(value))
    told = call("check", tmp_path / "study.json")
    assert told.exit_code == 1
    assert "study.json: pages[1].rubric: 'other' is none of: plain" in told.output
    assert "faults" in told.output


def run_of(folder: Path, sections: dict[str, object]) -> Path:
    Run("toy", "A toy run", {}, {"x": mean([1.0, 2.0])}, sections=sections).write(folder)
    return folder


def test_a_study_of_a_runs_conversations(tmp_path: Path) -> None:
    (tmp_path / "run" / "media").mkdir(parents=True)
    (tmp_path / "run" / "media" / "a.png").write_bytes(Image(np.zeros((4, 4, 3), np.uint8)).encoded())
    talks = [
        {
            "id": f"c{i}", "title": "t", "tags": {"subject": "m", "item": f"i{i}", "n": 1},
            "turns": [
                {"role": "user", "text": "what is this?"}, {"role": "user", "path": "media/a.png"},
                {"role": "assistant", "text": "a square"},
            ],
        }
        for i in range(5)
    ]  # fmt: skip
    folder = run_of(tmp_path / "run", {"conversations": talks})
    assert "3 units" in call("new", folder, "--sample", "3").output
    file = folder / "study" / "study.json"
    assert check(file) == []
    units = json.loads(file.read_text())["units"]
    assert [len(one["messages"]) for one in units] == [3, 3, 3]
    assert units[0]["messages"][1]["parts"] == [{"image": "media/a.png"}]
    assert units[0]["messages"][2]["parts"] == [{"text": "a square"}]
    assert (file.parent / "media" / "a.png").exists()


def with_forms(folder: Path, items: int, subjects: int = 2, ratings: int = 2) -> Path:
    """A run that brings two forms, and a rubric that is for models."""
    talks = [
        {"id": f"{k}-{i}", "tags": {"subject": f"d{k}", "item": f"i{i}"},
         "turns": [{"role": "patient", "text": "Here.", "path": "media/a.png"}]}
        for i in range(items) for k in range(subjects)
    ]  # fmt: skip
    folder = run_of(folder, {"conversations": talks})
    (folder / "media").mkdir()
    (folder / "media" / "a.png").write_bytes(Image(np.zeros((4, 4, 3), np.uint8)).encoded())
    (folder / "study").mkdir()
    form = {**raw(), "units": [], "design": {"ratings_per_case": ratings, "cases_per_rater": 3}}
    forms = {"note": "n", "actor": {**form, "id": "a"}, "other": {**form, "id": "b"}, "rater": {"items": []}}
    (folder / "study" / "osce.json").write_text(json.dumps(forms))
    return folder


def test_a_runs_own_forms_are_filled_with_whole_cases(tmp_path: Path) -> None:
    folder = with_forms(tmp_path / "run", items=5)
    assert "8 units" in call("new", folder, "--sample", "9").output
    file = folder / "study" / "study.json"
    made = json.loads(file.read_text())
    assert (made["id"], made["design"]["ratings_per_case"], check(file)) == ("a", 2, [])
    assert made["units"][0]["messages"][0]["parts"] == [{"text": "Here."}, {"image": "media/a.png"}]
    rated = {(one["item"], one["subject"]) for one in made["units"]}
    assert len({item for item, _ in rated}) == 4, "each of four cases with both of its doctors"
    assert "other.json" in call("new", folder, "--form", "other").output
    assert json.loads((folder / "study" / "other.json").read_text())["id"] == "b"
    with pytest.raises(ValueError, match="it brings actor, other"):
        call("new", folder, "--form", "rater")
    with pytest.raises(ValueError, match=r"no result\.json"):
        call("new", tmp_path / "new", "--form", "actor")


def test_a_form_gets_the_ratings_that_link_raters_or_is_refused(tmp_path: Path) -> None:
    folder = with_forms(tmp_path / "two", items=2, subjects=4, ratings=1)
    assert "with 2 ratings each, not with 1" in call("new", folder).output
    made = json.loads((folder / "study" / "study.json").read_text())
    assert made["design"] == {"ratings_per_case": 2, "cases_per_rater": 3}
    assert "yes" in call("plan", folder / "study" / "study.json").output
    with pytest.raises(ValueError, match="more cases"):
        call("new", with_forms(tmp_path / "one", items=1))


def test_a_study_of_a_runs_examples(tmp_path: Path) -> None:
    shown = [{"id": f"e{i}", "parts": {"text": {"kind": "text", "text": f"words {i}"}}} for i in range(3)]
    folder = run_of(tmp_path / "run", {"examples": shown})
    assert "3 units" in call("new", folder).output
    assert check(folder / "study" / "study.json") == []


@pytest.mark.parametrize("path", ["../secret.png", "/etc/passwd"])
def test_a_run_cannot_name_files_outside_itself(path: str, tmp_path: Path) -> None:
    (tmp_path / "secret.png").write_bytes(b"x")
    talks = [{"id": "c", "turns": [{"role": "user", "path": path}]}]
    folder = run_of(tmp_path / "run", {"conversations": talks})
    with pytest.raises(ValueError, match="is not in"):
        call("new", folder)


def test_talks_that_were_not_kept_are_not_put_before_people(tmp_path: Path) -> None:
    kept, gone = {"role": "assistant", "text": "a square"}, {"role": "assistant", "withheld": "abc"}
    talks = [{"id": "c1", "turns": [kept]}, {"id": "c2", "turns": [kept, gone]}]
    assert "1 units" in call("new", run_of(tmp_path / "run", {"conversations": talks})).output
    with pytest.raises(ValueError, match="store=full"):
        call("new", run_of(tmp_path / "other", {"conversations": talks[1:]}))


def test_a_run_without_anything_to_show_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="kept no conversations"):
        call("new", run_of(tmp_path / "run", {}))


def test_serve_prints_links_once_and_serves(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import uvicorn

    from polymodal.judge.people.store import Store

    asked = []
    monkeypatch.setattr(uvicorn, "run", lambda app, **how: asked.append(how))
    call("new", tmp_path)
    partner = ["--partner", "friend=scripted:echo"]
    told = call("serve", tmp_path / "study.json", "--invite", "2", "--port", "8123", *partner).output
    links = [line for line in told.splitlines() if line.startswith("http://127.0.0.1:8123/s/")]
    assert len(set(links)) == 2
    assert "operator, from this machine: http://127.0.0.1:8123/admin/enter/" in told
    assert asked[0]["host"] == "127.0.0.1"
    store = Store(f"sqlite:///{tmp_path / 'example.db'}")
    assert all(store.rater(link.rpartition("/")[2]) is not None for link in links)
    store.close()
