"""Claims: every verdict of every builder, and what is said where numbers are missing."""

import math

import pytest

from polymodal.metrics import Checked, Claim, Estimate, above, below, every, exact, inside


def at(low, high):
    return Estimate(mean=(low + high) / 2, low=low, high=high, n=20, n_valid=18)


NOTHING = Estimate(
    mean=0.4, low=math.nan, high=math.nan, n=3, n_valid=3, reason="fewer than two groups: no interval"
)


@pytest.mark.parametrize(
    ("check", "estimate", "verdict"),
    [
        (above("gap", 0.2), at(0.21, 0.3), "reproduced"),
        (above("gap", 0.2), at(0.1, 0.2), "not reproduced"),
        (above("gap", 0.2), at(0.1, 0.3), "undetermined"),
        (above("gap", 0), at(0.0, 0.3), "undetermined"),
        (below("gap", 0.2), at(0.1, 0.19), "reproduced"),
        (below("gap", 0.2), at(0.2, 0.3), "not reproduced"),
        (below("gap", 0.2), at(0.1, 0.3), "undetermined"),
        (inside("gap", 0.92), at(0.9, 0.93), "reproduced"),
        (inside("gap", 0.92), at(0.5, 0.6), "not reproduced"),
        (above("gap", 0.2), NOTHING, "undetermined"),
        (inside("gap", 0.2), NOTHING, "undetermined"),
        (below("gap", 0.6), exact(0.25), "reproduced"),
    ],
)
def test_verdict_follows_from_the_interval(check, estimate, verdict):
    found = Claim("a claim", ".92", check).judge({"gap": estimate})
    assert found.verdict == verdict
    assert found.evidence.startswith("gap ")


def test_evidence_is_a_short_sentence_with_the_numbers():
    found = above("gap", 0.2)({"gap": at(0.3, 0.5)})
    assert found.evidence == "gap 0.400 [0.300, 0.500], n 18: all above 0.200"
    assert "fewer than two groups" in above("gap", 0.2)({"gap": NOTHING}).evidence
    assert "1234" in below("steps", 2000)({"steps": exact(1234)}).evidence


def test_missing_estimate_is_undetermined_with_its_name():
    for check in (above("gap", 0), below("gap", 0), inside("gap", 0)):
        assert check({}) == Checked("undetermined", "no estimate named 'gap'")


def test_every_takes_the_weakest():
    yes, no, open_ = above("gap", 0.1), above("gap", 0.9), above("gap", 0.4)
    gap = {"gap": at(0.3, 0.5)}
    assert every(yes, yes)(gap).verdict == "reproduced"
    assert every(yes, open_)(gap).verdict == "undetermined"
    assert every(yes, open_, no)(gap).verdict == "not reproduced"
    assert every(yes, above("other", 0))(gap).verdict == "undetermined"
    assert every(yes, no)(gap).evidence.count(";") == 1
    with pytest.raises(ValueError, match="at least one"):
        every()


def test_any_function_is_a_check():
    def ordered(estimates):
        first, second = estimates["first"], estimates["second"]
        good = first.low > second.high
        return Checked("reproduced" if good else "undetermined", f"{first.low} against {second.high}")

    claim = Claim("first leads", "-", ordered)
    assert claim.judge({"first": at(0.5, 0.6), "second": at(0.1, 0.2)}).verdict == "reproduced"
    missing = claim.judge({"first": at(0.5, 0.6)})
    assert missing == Checked("undetermined", "no estimate named 'second'")
