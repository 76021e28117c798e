"""Many raters at once, and kills: every acknowledged answer is in the export exactly once."""

import os
import random
import signal
import subprocess
import sys
import threading
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from tests.judge.people.studies import made

from polymodal.judge.people.bots import walk
from polymodal.judge.people.store import Store
from polymodal.judge.people.tables import Rater, Stored
from polymodal.judge.people.verdicts import event_rows, rating_rows

HERE = Path(__file__).parents[3]
PLAIN = {k: v for k, v in os.environ.items() if not k.startswith("COV")}  # the killed have none to give


class Noting(Store):
    """Keeps each answer that was acknowledged."""

    def save(self, rater: Rater, slot_id: int, field: str, value: Any, **how: Any) -> Stored:
        stored = super().save(rater, slot_id, field, value, **how)
        self.__dict__.setdefault("accepted", []).append(
            (rater.pseudonym, slot_id, field, stored.version, stored.value)
        )
        return stored


@pytest.mark.usefixtures("untraced")
def test_two_hundred_raters_and_every_answer_is_in_the_export_once(url: str) -> None:
    study = made(items=200, design={"ratings_per_case": 2, "cases_per_rater": 2})
    stores = [Noting(url, study), Noting(url, study)]  # two workers on one database
    work = list(range(200))

    def serve(store: Store) -> None:
        while True:
            try:
                number = work.pop()
            except IndexError:
                return
            rater = store.rater(store.enrol())
            assert rater is not None
            list(walk(store, rater, seed=number))

    threads = [threading.Thread(target=serve, args=(stores[i % 2],)) for i in range(16)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    accepted = [row for store in stores for row in store.__dict__["accepted"]]
    exported = [
        (
            row["rater"],
            row["slot"],
            row["field"],
            row["version"],
            row["value"] if row["field"] == "good" else None,
        )
        for row in rating_rows(stores[0])
    ]
    assert len(accepted) == 800
    assert Counter(exported) == Counter((*row[:4], row[4] if row[2] == "good" else None) for row in accepted)
    assert stores[0].progress()["slots"] == {"done": 400}
    assert stores[1].progress()["ratings_per_case"] == [2, 2]
    pairs = [(row["rater"], row["item"]) for row in rating_rows(stores[0]) if row["field"] == "good"]
    assert len(set(pairs)) == len(pairs) == 400
    for store in stores:
        store.close()


SUBMITTER = """
import sys
from polymodal.judge.people.store import Store
store = Store(sys.argv[1])
rater = store.rater(sys.argv[2])
while (slot := store.lease(rater)) is not None:
    version, seq = 0, 0
    kept = store.answers(rater, slot.id).get("good")
    version = kept.version if kept else 0
    for _ in range(20):
        seq += 1
        stored = store.save(rater, slot.id, "good", 1 + version % 7, seq=seq, version=version)
        version = stored.version
        print(slot.id, "good", version, stored.value, flush=True)
    store.submit(rater, slot.id)
    print(slot.id, "submitted", 0, 0, flush=True)
"""


def test_no_acknowledged_answer_is_lost_to_a_kill(url: str) -> None:
    store = Store(url, made(items=50, design={"ratings_per_case": 1, "cases_per_rater": 50}))
    token = store.enrol()
    rater = store.rater(token)
    assert rater is not None
    store.advance(store.consent(rater, True), 1)
    draw, told = random.Random(url), []
    for _ in range(2):
        words = [sys.executable, "-c", SUBMITTER, url, token]
        with subprocess.Popen(words, stdout=subprocess.PIPE, text=True, cwd=HERE, env=PLAIN) as child:
            assert child.stdout is not None
            for _ in range(draw.randrange(5, 120)):
                told.append(child.stdout.readline().split())
            child.send_signal(signal.SIGKILL)
            told += [line.split() for line in child.stdout if line.endswith("\n")]
    saved = [row for row in told if row[1] == "good"]
    assert len(saved) > 8
    events = Counter((str(row["slot"]), row["data"]) for row in event_rows(store) if row["kind"] == "answer")
    assert max(events.values()) == 1
    kept = Counter((str(row["slot"]), str(row["version"]), str(row["value"])) for row in store.rows("answer"))
    assert all(kept[slot, version, value] == 1 for slot, _, version, value in saved)
    states = {str(row["slot"]): row["state"] for row in rating_rows(store)}
    assert all(states[row[0]] == "done" for row in told if row[1] == "submitted")
    store.close()
