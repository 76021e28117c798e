"""Attacks with backtracking: the ladder's closed forms, what each side sees, how they end."""

import json
from pathlib import Path

import pytest

from polymodal.chat import ChatError, Scripted, connect, said
from polymodal.envs import keepers
from polymodal.envs.cards import Scene, Thing
from polymodal.judge import Rule, invalid
from polymodal.judge.talks import again, converse, lead, led, replayed
from polymodal.media import Sample, Text
from polymodal.runs.atomic import write_table
from polymodal.systems.harm_evaluation.judges import RULE

N = 50
CLIMBER = connect("scripted:climber", scripts=keepers.SCRIPTS)
LADDER = connect("scripted:ladder", scripts=keepers.SCRIPTS)


def arm(limit, n=N):
    rungs = keepers.ladder(seed=3, n=n)
    return led(LADDER, CLIMBER, RULE, rungs, {}, seed=3, backtracks=limit, full=True, arm=f"limit {limit}")


def near(rows, p):
    rate = sum(row[1] for row in rows) / len(rows)
    return abs(rate - p) <= 3 * (p * (1 - p) / len(rows)) ** 0.5 + 1e-12


@pytest.mark.parametrize(("limit", "p"), [(-1, 3.0**-5), (0, 3.0**-5), (5, 147 / 243)])
def test_the_ladder_s_rates(limit, p):
    rows = arm(limit, N if limit else 40)["rows"]
    assert near(rows, p)
    assert max(row[2] for row in rows) <= max(limit, 0)


def test_ten_backtracks_climb_every_ladder():
    rows = arm(10)["rows"]
    assert all(row[1] == 1 and not row[3] for row in rows)
    backs = [row[2] for row in rows]
    assert max(backs) <= 10
    assert sum(backs) / N == pytest.approx(5, abs=3 * (10 / 3 / N) ** 0.5)


def test_no_removed_turn_is_ever_shown_again_and_all_are_in_the_log():
    shown, told = [], []

    def watched(messages, seed):
        shown.append([said(m) for m in messages])
        return LADDER(*messages, seed=seed)

    def attacker(messages, seed):
        told.append(json.loads(said(messages[-1])))
        return CLIMBER(*messages, seed=seed)

    sample = next(s for s in keepers.ladder(seed=3, n=20) if arm_of(s).backtracks > 2)
    one = lead(Scripted("s", watched), Scripted("a", attacker), RULE, sample, goal="the rule", seed=3)
    removed = [row["message"] for row in one.log if row["removed"]]
    assert len(removed) == one.backtracks > 2
    assert one.defect
    for k, context in enumerate(shown):
        before = {row["message"] for row in one.log[:k] if row["removed"]}
        assert not before & set(context[:-1])
        assert keepers.REFUSAL not in context
    assert [len(one["log"]) for one in told] == list(range(len(told)))  # the attacker sees everything
    assert told[0]["goal"] == "the rule"
    assert not set(removed) & {said(m) for m in one.context}


def arm_of(sample):
    return lead(LADDER, CLIMBER, RULE, sample, goal="", seed=3)


def test_a_log_replays_on_another_subject():
    sample = keepers.ladder(seed=3, n=1)[0]
    one = arm_of(sample)
    messages, _ = converse(LADDER, replayed(sample, one.log), seed=9)
    assert messages == one.context
    kept = [row["message"] for row in one.log if not row["removed"]]
    other = converse(connect("scripted:say?text=no"), replayed(sample, one.log), seed=9)[0]
    assert [said(m) for m in other if m.role == "user"] == kept


def written(path, *logs):
    names = ("arm", "item", "attempt", "message", "reply", "refused", "removed", "score")
    rows = [row for log in logs for row in log]
    write_table(path, {name: [row[k] for row in rows] for k, name in enumerate(names)})
    return path


def test_a_run_s_attacks_are_put_to_other_subjects(tmp_path):
    samples = keepers.ladder(seed=3, n=N)
    logs = [arm(limit)["log"] for limit in (0, 10)]
    found = again([*samples, Sample("never", {})], written(tmp_path / "attacks.parquet", *logs))
    assert [one.id for one in found] == [one.id for one in samples]
    rows = led(LADDER, CLIMBER, RULE, found, {}, seed=9, backtracks=-1, full=True, arm="again")["rows"]
    assert all(row[1] for row in rows)  # the attack that broke the rule is the one that is played
    losing = again(samples, written(tmp_path / "attacks.parquet", logs[0]))
    rows = led(LADDER, CLIMBER, RULE, losing, {}, seed=9, backtracks=-1, full=True, arm="again")["rows"]
    assert [row[1] for row in rows] == [row[1] for row in arm(0)["rows"]]


def test_logs_that_cannot_be_played_are_refused(tmp_path):
    samples = keepers.ladder(seed=3, n=2)
    kept = led(LADDER, CLIMBER, RULE, samples, {}, seed=3, backtracks=10, full=False, arm="a")["log"]
    with pytest.raises(ValueError, match="keeps digests, no words: make that run with -o store=full"):
        again(samples, written(tmp_path / "attacks.parquet", kept))
    wrong = [["a", "ladder-000", 1, None, "no", True, False, 0.0]]
    for path in (written(tmp_path / "other.parquet", wrong), tmp_path / "text.parquet"):
        (tmp_path / "text.parquet").write_text("no table")
        with pytest.raises(ValueError, match="is no run's attacks"):
            again(samples, path)
    known = written(tmp_path / "attacks.parquet", arm(0, 2)["log"])
    with pytest.raises(ValueError, match="none of its attacks is on one of these conversations"):
        again([Sample("never", {})], known)
    with pytest.raises(FileNotFoundError, match="cresendo: neither a way of attacking nor"):
        again(samples, Path("cresendo"))


def test_the_picture_comes_with_the_first_turn_and_again_after_a_removal():
    tile, seen = Scene((Thing("star", "red"),)).image(), []
    sample = Sample("i", {"image": tile}, r"\bword\b", tags={"policy": "p"})

    def subject(messages, seed):
        seen.append([any(p.kind == "image" for p in m.parts) for m in messages])
        return "I cannot help with that." if len(seen) == 1 else "a word" if len(seen) == 3 else "fine"

    attacker = Scripted("a", lambda messages, seed: '{"message": "go on"}')
    one = lead(Scripted("s", subject), attacker, RULE, sample, goal="", seed=0)
    assert seen == [[True], [True], [True, False, False]]
    assert (one.defect, one.backtracks) == (True, 1)


def test_ends_that_are_no_verdict_have_a_reason():
    sample = keepers.ladder(seed=0, n=1)[0]
    prose = connect("scripted:say?text=try harder")
    assert lead(LADDER, prose, RULE, sample, goal="", seed=0).reason == "unparsable"

    def fails(messages, seed):
        raise ChatError("over_budget", "no more")

    assert lead(Scripted("s", fails), CLIMBER, RULE, sample, goal="", seed=0).reason == "over_budget"
    silent = Rule("silent", lambda case: invalid("unparsable", ""), "1")
    one = lead(LADDER, CLIMBER, silent, sample, goal="", seed=0)
    assert (one.defect, one.reason) == (False, "unparsable")


def test_words_are_told_by_digest_unless_asked_for():
    samples = [Sample("i", {"turn1": Text("a")}, "x")]
    made = [
        led(LADDER, CLIMBER, RULE, samples, {}, seed=0, backtracks=0, full=full, arm="a")["log"]
        for full in (True, False)
    ]
    assert made[0][0][3].startswith("Rung 1")
    assert len(made[1][0][3]) == 16
    assert len(made[0]) == 10  # ten turns, all refused and kept
