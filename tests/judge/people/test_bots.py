import socket
import threading
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from tests.judge.people.studies import RUBRIC, made, unit

from polymodal.judge.people.bots import draws, guess, simulate, visit
from polymodal.judge.people.store import Store
from polymodal.judge.people.verdicts import rating_rows
from polymodal.judge.question import KINDS

LEVELS = {"likert": 5, "ordinal": ["bad", "good"], "choice": ["x", "y"], "multi": ["x", "y"], "span": ["x"]}
EVERY = {
    **RUBRIC,
    "id": "every",
    "items": [
        {
            "id": kind, "text": "?", "kind": kind, **({"levels": LEVELS[kind]} if kind in LEVELS else {}),
            **({"low": 0, "high": 10} if kind == "slider" else {}),
        }
        for kind in KINDS
    ],
}  # fmt: skip
TWO = [{"subject": s, "messages": [{"role": "assistant", "parts": [f"I am {s}"]}]} for s in "xy"]
PAGES: list[dict[str, Any]] = [
    {"kind": "consent"},
    {"kind": "training", "rubric": "plain", "units": ["t"]},
    {"kind": "block", "rubric": "every", "units": ["p0", "p1"]},
    {"kind": "advice", "rubric": "plain", "units": ["a0", "a1"], "options": {"first": ["good"]}},
    {"kind": "instrument", "rubric": "plain"},
    {"kind": "debrief"},
]


def study() -> Any:
    units = [
        unit("t", gold={"good": 3}),
        *({"id": f"p{i}", "sides": TWO} for i in range(2)),
        unit("a0"),
        unit("a1"),
    ]
    rubrics = [EVERY, RUBRIC]
    return made(
        units=units, rubrics=rubrics, pages=PAGES, design={"ratings_per_case": 2, "cases_per_rater": 4}
    )


@pytest.mark.parametrize("item", study().rubrics["every"].items, ids=lambda item: item.id)
def test_guesses_are_answers(item: Any) -> None:
    for i in range(20):
        item.validate(guess(item, None, draws("x", seed=i)))


def test_simulated_raters_do_all_there_is_and_are_marked(tmp_path: Path) -> None:
    store = Store(f"sqlite:///{tmp_path / 'x.db'}", study())
    assert simulate(store, 2, seed=4, threads=2) == 2 * (1 + 2 + 2 + 1)
    assert store.progress()["raters"] == {"done": 2}
    assert Counter(row["kind"] for row in store.rows("event"))["simulated"] == 2
    assert len(list(rating_rows(store))) == 2 * (2 + 2 * 15 + 2 * 2 + 2)
    store.close()


def test_draws_hang_on_rater_unit_and_question_only() -> None:
    assert draws("a", "b", seed=1).random() == draws("a", "b", seed=1).random()
    assert (
        len(
            {draws("a", "b", seed=1).random(), draws("ab", seed=1).random(), draws("a", "b", seed=2).random()}
        )
        == 3
    )


@contextmanager
def served(store: Store) -> Iterator[str]:
    import uvicorn

    from polymodal.judge.people.app import app

    ready = threading.Event()

    class Server(uvicorn.Server):
        async def startup(self, sockets: list[socket.socket] | None = None) -> None:
            await super().startup(sockets)
            ready.set()

    with socket.socket() as door:
        door.bind(("127.0.0.1", 0))
        server = Server(uvicorn.Config(app(store.study, store), log_level="error"))
        thread = threading.Thread(target=server.run, kwargs={"sockets": [door]})
        thread.start()
        assert ready.wait(60)
        try:
            yield f"http://127.0.0.1:{door.getsockname()[1]}"
        finally:
            server.should_exit = True
            thread.join()


def test_bots_through_the_pages_save_what_they_are_told_is_saved(tmp_path: Path) -> None:
    store = Store(f"sqlite:///{tmp_path / 'x.db'}", study())
    saved = []
    with served(store) as base:
        for seed in range(2):
            for step in visit(f"{base}/s/{store.enrol()}", store.study, seed=seed):
                saved += step.saved
        with pytest.raises(ConnectionError, match="403"):
            list(visit(f"{base}/s/nobody", store.study, seed=0))
    assert store.progress()["slots"] == {"done": 12}
    exported = Counter((row["slot"], row["field"], row["version"]) for row in rating_rows(store))
    assert Counter(saved) == exported
    assert len(saved) == 2 * (2 + 2 * 15 + 2 * 2 + 2)
    store.close()
