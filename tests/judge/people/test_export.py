"""Real ratings through the store and back through the files that `polymodal study export` writes."""

import csv
import json
from collections import defaultdict
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
from tests.judge.people.studies import RUBRIC, raw, unit
from typer.testing import CliRunner

from polymodal.cli.study import study as verbs
from polymodal.judge.people.store import Store
from polymodal.judge.people.study import load
from polymodal.judge.people.verdicts import agreement, verdict_of, verdicts
from polymodal.metrics import alpha
from polymodal.runs.atomic import write_json

RATED = Path(__file__).parents[3] / "../shared/data/geneval_ratings/annotations_clip.csv"
QUALITY = {
    **RUBRIC,
    "id": "quality",
    "items": [{"id": "quality", "text": "How good is the picture?", "kind": "ordinal", "levels": 4}],
}


@pytest.mark.skipif(not RATED.exists(), reason="GenEval's ratings are not beside this checkout")
def test_geneval_ratings_come_back_with_their_alpha(tmp_path: Path) -> None:
    given: defaultdict[str, list[int]] = defaultdict(list)
    with RATED.open(encoding="utf-8", newline="") as stream:
        for row in csv.DictReader(stream):
            given[row["Input.index"]].append(int(row["Answer.task-quality"]))
    assert (len(given), {len(values) for values in given.values()}) == (400, {5})
    pages = [{"kind": "consent"}, {"kind": "block", "rubric": "quality"}]
    design = {"ratings_per_case": 5, "cases_per_rater": 400}
    units = [unit(name, group=name.partition("_")[0]) for name in given]
    file = tmp_path / "study.json"
    write_json(file, raw(units=units, rubrics=[QUALITY], pages=pages, design=design))
    url = f"sqlite:///{tmp_path / 'ratings.db'}"
    store = Store(url, load(file))
    for place in range(5):
        rater = store.rater(store.enrol())
        assert rater is not None
        rater = store.advance(store.consent(rater, True), 1)
        while (slot := store.lease(rater)) is not None:
            store.save(rater, slot.id, "quality", given[slot.unit][place], seq=1, version=0)
            store.submit(rater, slot.id)
    live = agreement(store, draws=20)["quality"]
    store.close()
    done = CliRunner().invoke(verbs, ["export", str(file), "--db", url], catch_exceptions=False)
    assert done.exit_code == 0, done.output
    table = pq.read_table(tmp_path / "export" / "ratings.parquet").to_pylist()
    back: defaultdict[str, list[float]] = defaultdict(list)
    for row in table:
        back[row["item"]].append(row["value"])
    assert {name: sorted(values) for name, values in back.items()} == {
        name: sorted(values) for name, values in given.items()
    }
    ratings = list(back.values())
    figures = [round(alpha(ratings, level=level), 4) for level in ("ordinal", "interval", "nominal")]
    assert figures == [0.4642, 0.4676, 0.2976]
    assert round(float(np.mean(ratings)), 4) == 3.1035
    assert round(live.mean, 4) == 0.4642
    lines = (tmp_path / "export" / "verdicts.jsonl").read_text().splitlines()
    assert [verdict_of(json.loads(line)) for line in lines] == list(verdicts(url))


def test_whatever_people_write_is_exported_as_text(tmp_path: Path) -> None:
    nasty = "'; DROP TABLE answer; -- <script> \ud800 \0 \u0627"
    file = tmp_path / "study.json"
    write_json(file, raw())
    store = Store(f"sqlite:///{tmp_path / 'toy.db'}", load(file))
    rater = store.rater(store.enrol())
    assert rater is not None
    rater = store.advance(store.consent(rater, True), 1)
    slot = store.lease(rater)
    assert slot is not None
    store.save(rater, slot.id, "why", nasty, seq=1, version=0, note=nasty)
    store.say(rater, slot.id, nasty, [nasty])
    store.event(rater, slot.id, nasty, {nasty: nasty})
    store.close()
    assert CliRunner().invoke(verbs, ["export", str(file)], catch_exceptions=False).exit_code == 0
    ratings = pq.read_table(tmp_path / "export" / "ratings.parquet").to_pylist()
    assert json.loads(ratings[0]["answer"]) == nasty.replace("\0", "")
    assert ratings[0]["note"] == nasty.replace("\ud800", "?")
    said = json.loads((tmp_path / "export" / "messages.jsonl").read_text())
    assert said["parts"] == [nasty]
    events = pq.read_table(tmp_path / "export" / "events.parquet").to_pylist()
    assert json.loads(events[-1]["data"]) == {nasty: nasty}
