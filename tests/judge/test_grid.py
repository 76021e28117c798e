"""Subjects by items: order, common seeds, resume, failures kept, memory flat."""

import itertools
import pickle
import threading
import tracemalloc
from collections.abc import Iterator
from pathlib import Path

import pytest

from polymodal.chat import ChatError, Usage, assistant, said, uniform, user
from polymodal.judge import (
    Answer,
    Case,
    CutShortError,
    Rule,
    Verdict,
    answers,
    blind,
    call_seed,
    case_of,
    contains,
    verdicts,
)
from polymodal.media import MediaError, Message, Sample, Text

Talk = tuple[tuple[Message, ...], Usage]


def sample(name: str, variant: str = "mt", group: str | None = None) -> Sample:
    return Sample(
        name, {"ask": Text(f"about {name}")}, group=group, tags={"variant": variant, "harm": "city"}
    )


def chance(sample: Sample, *, seed: int) -> Talk:
    return (user("?"), assistant(f"{uniform(seed):.9f}")), Usage(calls=1)


def test_answers_come_in_order_whatever_the_threads() -> None:
    items = [sample(str(i)) for i in range(20)]
    one, four = (list(answers({"a": chance, "b": chance}, items, seed=3, threads=n)) for n in (1, 4))
    assert one == four
    assert [(x.item, x.subject) for x in one] == list(itertools.product(map(str, range(20)), "ab"))
    first = one[0]
    assert (first.group, first.variant, first.tags, first.usage.calls) == ("0", "mt", {"harm": "city"}, 1)


def test_seeds_are_common_to_subjects_and_variants() -> None:
    items = [sample("1", "mt"), sample("1", "text"), sample("2", "mt")]
    a, b, *_, last = (said(x.messages[1]) for x in answers({"a": chance, "b": chance}, items, seed=3))
    found = [said(x.messages[1]) for x in answers({"a": chance, "b": chance}, items, seed=3)]
    assert len(set(found[:4])) == 1
    assert a == b != last
    assert [said(x.messages[1]) for x in answers({"a": chance}, items[:1], seed=4)] != [a]
    seeds = {call_seed(item, turn, seed=seed) for item in "12" for turn in (0, 1) for seed in (0, 1)}
    assert len(seeds) == 8
    assert all(0 <= seed < 2**63 for seed in seeds)
    assert call_seed("1", 0, seed=0) == 4_647_901_070_583_256_920


def test_what_is_done_is_not_asked_again() -> None:
    items = [sample(str(i)) for i in range(4)]
    whole = list(answers({"a": chance, "b": chance}, items, seed=0))
    done = {whole[0].key, whole[5].key}
    rest = list(answers({"a": chance, "b": chance}, items, seed=0, done=done))
    assert rest == [x for x in whole if x.key not in done]


def test_failures_are_answers_with_their_reason() -> None:
    talk = (user("1"), assistant("2"), user("3"))

    def fails(sample: Sample, *, seed: int) -> Talk:
        match sample.id:
            case "slow":
                raise CutShortError("timeout", "no reply in 60 s", talk, Usage(calls=1, retries=2))
            case "down":
                raise ChatError("server", "500", Usage(retries=3))
            case "gone":
                sample.parts["ask"].digest()
                raise MediaError("missing", "x.png", "no such file")
        return talk, Usage(calls=2)

    found = list(answers({"a": fails}, [sample(n) for n in ("slow", "down", "gone", "fine")], seed=0))
    assert [(x.error, len(x.messages)) for x in found] == [
        ("timeout", 3),
        ("server", 0),
        ("missing", 0),
        ("", 3),
    ]
    assert [x.usage.retries for x in found] == [2, 3, 0, 0]
    rule = contains("2", score="x")
    judged = [verdict for _, verdict in verdicts([rule], map(case_of, found), seed=0)]
    assert [(v.valid, v.reason) for v in judged] == [
        (False, "timeout"),
        (False, "no_output"),
        (False, "no_output"),
        (True, ""),
    ]


def test_a_bug_in_a_subject_is_no_answer() -> None:
    def broken(sample: Sample, *, seed: int) -> Talk:
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        list(answers({"a": broken}, [sample("1")], seed=0))


def test_a_cut_talk_survives_pickling() -> None:
    error = CutShortError("timeout", "why", (user("a"),), Usage(calls=1))
    again = pickle.loads(pickle.dumps(error))
    assert (again.reason, str(again), again.messages, again.usage) == (
        "timeout",
        "why",
        error.messages,
        error.usage,
    )


def test_items_are_taken_only_as_they_are_needed() -> None:
    taken = itertools.count()
    items = (sample(str(next(taken))) for _ in itertools.count())
    stream = answers({"a": chance}, items, seed=0, threads=4)
    for _ in range(3):
        next(stream)
    assert next(taken) <= 3 + 2 * 4


def test_memory_does_not_grow_with_the_samples() -> None:
    def long(sample: Sample, *, seed: int) -> Talk:
        return (user("?"), assistant(f"{seed} " + "x" * 200_000)), Usage()

    items: Iterator[Sample] = (sample(str(i)) for i in range(300))
    tracemalloc.start()
    stream = verdicts([contains("y", score="x")], map(case_of, answers({"a": long}, items, seed=0)), seed=0)
    n = sum(verdict.valid for _, verdict in stream)
    most = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert n == 300
    assert most < 5e6


def test_threads_really_work_at_once() -> None:
    meet = threading.Barrier(4, timeout=20)

    def waits(sample: Sample, *, seed: int) -> Talk:
        meet.wait()
        return (assistant("x"),), Usage()

    assert len(list(answers({"a": waits}, [sample(str(i)) for i in range(4)], seed=0, threads=4))) == 4


def test_an_answer_is_a_case_and_judged_with_the_seed_of_its_item() -> None:
    (answer,) = answers({"a": chance}, [sample("1", group="tile")], seed=0)
    case = case_of(answer, reference="canary")
    assert case == Case(
        "a|1|mt", "1", "tile", "a", "mt", answer.messages, reference="canary", tags={"harm": "city"}
    )

    class Seeded:
        name = "seeded@1"

        def __call__(self, case: Case, *, seed: int) -> Verdict:
            return Verdict({"seed": seed % 1000}, judge=self.name)

    rule = Rule("length", lambda case: {"length": len(case.messages)}, "1")
    found = list(verdicts([Seeded(), rule], [case, *blind([case], seed=1)], seed=5, threads=2))
    assert [v.judge for _, v in found] == ["seeded@1", rule.name] * 2
    assert found[0][1].scores == found[2][1].scores == {"seed": call_seed("1", 0, seed=5) % 1000}


def test_blind_hides_who_and_in_which_condition_and_changes_the_order() -> None:
    items = [sample(str(i)) for i in range(30)]
    cases = [case_of(answer) for answer in answers({"open": chance}, items, seed=0)]
    hidden = blind(cases, seed=2)
    assert {(case.subject, case.variant) for case in hidden} == {("", "")}
    assert "open" not in repr(hidden)
    assert "'mt'" not in repr(hidden)
    assert [case.item for case in hidden] != [case.item for case in cases]
    assert {case.item for case in hidden} == {case.item for case in cases}
    assert hidden == blind(cases, seed=2) != blind(cases, seed=3)
    assert len({case.id for case in hidden}) == 30


def test_a_file_that_is_gone_names_itself() -> None:
    gone = Sample("1", {"ask": Text(Path("not/there.txt"))})

    def reads(sample: Sample, *, seed: int) -> Talk:
        text = sample.parts["ask"]
        assert isinstance(text, Text)
        return (user(text.read()),), Usage()

    (answer,) = answers({"a": reads}, [gone], seed=0)
    assert answer == Answer(subject="a", item="1", group="1", variant="", messages=(), error=answer.error)
    assert answer.error in ("missing", "broken")
