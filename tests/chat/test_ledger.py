"""Costs by role and cause, and budgets that stop before a call."""

import threading

import pytest

from polymodal.chat import (
    Budget,
    ChatError,
    Ledger,
    Reply,
    Scripted,
    Usage,
    assistant,
    metered,
    ordered,
    user,
)
from polymodal.testing.chat import check_chat_model

COST = Usage(calls=1, tokens_in=7, tokens_out=3, image_tokens=2, bytes_out=11, pixels_out=64, seconds=0.5)


def priced(usage: Usage = COST) -> Scripted:
    return Scripted("priced", lambda *_: Reply(assistant("x"), usage))


def test_rows_by_role_and_cause():
    ledger = Ledger()
    metered(priced(), ledger, "target")(user("?"), seed=0)
    metered(priced(Usage(cached=1, tokens_in=5, retries=0)), ledger, "target")(user("?"), seed=0)
    ledger.add("judge", "harm", Usage(calls=2, tokens_out=4))
    assert ledger.rows() == [
        {
            "name": "judge: harm",
            "calls": 2,
            "tokens": 4,
            "tokens_in": 0,
            "tokens_out": 4,
            "image_tokens": 0,
            "bytes_out": 0,
            "pixels_out": 0,
        },
        {
            "name": "target",
            "calls": 2,
            "tokens": 15,
            "tokens_in": 12,
            "tokens_out": 3,
            "image_tokens": 2,
            "bytes_out": 11,
            "pixels_out": 64,
        },
    ]
    assert ledger.total().calls == 3
    assert ledger.total().cached == 1
    assert ledger.total().seconds == 0.5


def test_metering_changes_neither_name_nor_reply():
    model = priced()
    check_chat_model(metered(model, Ledger(), "target"))
    assert metered(model, Ledger(), "target").name == model.name


def test_a_failed_call_is_booked_too():
    def fail(*_):
        raise ChatError("timeout", "late", Usage(retries=3, seconds=1.0))

    ledger = Ledger()
    with pytest.raises(ChatError):
        metered(Scripted("f", fail), ledger, "target")(user("?"), seed=0)
    assert ledger.total() == Usage(retries=3, seconds=1.0)


@pytest.mark.parametrize(
    ("budget", "calls", "words"),
    [
        (Budget(calls=3), 3, "budget of 3 calls"),
        (Budget(tokens=25), 3, r"budget of 25 tokens is used up \(30 spent\)"),
        (Budget(seconds=0), 0, "budget of 0 s"),
        (Budget(calls=0), 0, "budget of 0 calls"),
    ],
)
def test_a_budget_ends_before_the_next_call(budget, calls, words):
    asked = []
    ledger = Ledger()
    model = metered(
        Scripted("s", lambda *_: asked.append(1) or Reply(assistant("x"), COST)), ledger, "t", "", budget
    )
    with pytest.raises(ChatError, match=words) as over:
        [model(user("?"), seed=seed) for seed in range(10)]
    assert over.value.reason == "over_budget"
    assert len(asked) == calls == ledger.total().calls


def test_no_limit_is_no_limit():
    model = metered(priced(), Ledger(), "t", budget=Budget())
    for seed in range(20):
        model(user("?"), seed=seed)


@pytest.mark.parametrize("wrong", [{"calls": -1}, {"tokens": -5}, {"seconds": float("nan")}])
def test_a_budget_below_nothing_is_refused(wrong):
    with pytest.raises(ValueError, match="at least 0"):
        Budget(**wrong)


def test_one_budget_holds_for_all_roles_and_kept_replies_count():
    ledger, budget = Ledger(), Budget(calls=4)
    target = metered(priced(), ledger, "target", budget=budget)
    judge = metered(priced(Usage(cached=1)), ledger, "judge", budget=budget)
    for model in (target, judge, target, judge):
        model(user("?"), seed=0)
    with pytest.raises(ChatError, match="judge"):
        judge(user("?"), seed=0)


def test_calls_in_flight_count_and_end():
    gate, asked = threading.Barrier(4), []

    def answer(*_):
        asked.append(1)
        gate.wait(10)
        return Reply(assistant("x"), COST)

    ledger = Ledger()
    model = metered(Scripted("slow", answer), ledger, "t", budget=Budget(calls=4))

    def one(seed):
        try:
            return model(user("?"), seed=seed).text
        except ChatError as error:
            return error.reason

    ended = list(ordered(one, range(12), threads=8))
    assert sorted(ended) == ["over_budget"] * 8 + ["x"] * 4
    assert len(asked) == ledger.total().calls == 4


def test_many_threads_lose_nothing():
    ledger = Ledger()
    model = metered(priced(), ledger, "t")
    list(ordered(lambda seed: model(user("?"), seed=seed), range(500), threads=8))
    assert ledger.total().calls == 500
    assert ledger.rows()[0]["tokens"] == 5000
