"""A fault storm: three calls in ten fail in every way, and nothing is lost, invented or asked twice."""

import json
import os
import random
import re
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from tests.chat.server import FAULTS, Server
from tests.chat.storm import SCHEMA, evaluated, question, remote

from polymodal.chat import Ledger, metered, uniform
from polymodal.chat.cached import key_of
from polymodal.runs import Cache

ROOT = Path(__file__).parents[2]
ITEMS, SHARE = 100, 0.3
QUICK = [fault for fault in FAULTS if fault not in ("hang", "cut")]  # the SDK waits half a second after those


def answer(body):
    """The answer depends on the question alone, however often and with whatever repair it is put."""
    item = int(re.search(r"item (\d+)", body["messages"][0]["content"])[1])
    return f'Let me see. {{"label": {item % 2}, "item": {item}}}'


def storm(body, times, faults=FAULTS):
    """Which fault this attempt meets; nobody meets more than four in a row, or fails the repair's form."""
    words = body["messages"][-1]["content"]
    if times > 4 or uniform("fails", words, times) >= SHARE:
        return ""
    fault = faults[int(uniform("which", words, times) * len(faults))]
    return "empty" if fault == "form" and len(body["messages"]) > 1 else fault


def bad_item(body, times):
    """Every third item fails for ever, each in its own way."""
    item = int(re.search(r"item (\d+)", body["messages"][0]["content"])[1])
    return "" if item % 3 else ("404", "500", "empty", "form", "broken", "429", "413")[1 + item // 3 % 6]


def expected(n):
    return [{"label": item % 2, "item": item} for item in range(n)]


def test_every_sample_ends_with_data_and_the_ledger_adds_up():
    ledger = Ledger()
    with Server(answer) as calm:
        undisturbed = evaluated(remote(calm.url), ITEMS, 8)
        assert len(calm.asked) == ITEMS
    with Server(answer, fault=storm) as server:
        results = evaluated(metered(remote(server.url), ledger, "judge"), ITEMS, 16)
        total = ledger.total()
        failed = len(server.asked) - server.answered
        met = {fault for fault in FAULTS if server.met[fault]}
    assert [asked.data for asked in results] == [asked.data for asked in undisturbed] == expected(ITEMS)
    assert met == set(FAULTS)
    assert failed / len(server.asked) == pytest.approx(SHARE, abs=0.08)
    assert total.calls + total.retries == len(server.asked)
    assert ITEMS + server.met["form"] <= total.calls <= server.answered + server.met["form"]
    assert sum(asked.usage.calls for asked in results) == total.calls
    assert total.tokens_out > 0


def test_what_fails_for_ever_is_a_counted_invalid():
    with Server(answer, fault=bad_item) as server:
        results = evaluated(remote(server.url), 18, 6)
    reasons = [asked.reason for asked in results]
    wanted = ["server", "no_output", "unparsable", "no_output", "rate_limit", "refused_input"]
    assert reasons == [wanted[i // 3] if i % 3 == 0 else "" for i in range(18)]
    assert all((asked.data is None) == bool(asked.reason) for asked in results)


def kept(store: Path, name: str, items: int) -> set[str]:
    """The questions whose replies are on disk."""
    if not store.exists():
        return set()
    with Cache(store) as cache:
        asked = {item: key_of(name, (question(item),), SCHEMA, seed=item) for item in range(items)}
        return {f"item {item}:" for item, key in asked.items() if cache.get(key)}


def first_words(body) -> str:
    """Which question a request asks for the first time; "" for a repair."""
    words = body["messages"]
    return words[0]["content"].partition(":")[0] + ":" if len(words) == 1 else ""


def test_killed_at_random_points_and_taken_up_nothing_kept_is_asked_again(tmp_path):
    draw, items, kills = random.Random(5), 80, 2
    store, out = tmp_path / "calls.sqlite", tmp_path / "out.json"
    env = {k: v for k, v in os.environ.items() if not k.startswith("COV")}  # a killed child has none to give
    with Server(answer, latency=0.01, fault=lambda b, t: storm(b, t, QUICK)) as server:
        words = [sys.executable, "-m", "tests.chat.storm", server.url, str(store), str(out), str(items), "4"]
        for kill in range(kills + 1):
            known, before = kept(store, remote(server.url).name, items), len(server.asked)
            child = subprocess.Popen(words, cwd=ROOT, env=env, stderr=subprocess.PIPE)
            if kill < kills:
                server.reached(before + draw.randint(15, 40))
                os.kill(child.pid, signal.SIGKILL)
            error = child.communicate(timeout=120)[1].decode()
            assert child.returncode == (-signal.SIGKILL if kill < kills else 0), error
            again = {first_words(body) for body in server.asked[before:]} & known
            assert not again, f"asked again after kill {kill}"
    done = json.loads(out.read_text())
    assert done["data"] == expected(items)
    assert len(known) > 30  # the last life began with what the earlier ones had kept
    assert done["total"]["cached"] >= len(known)
    assert done["rows"][0]["calls"] == done["total"]["calls"] + done["total"]["cached"]
