import math
import re
from collections import Counter, defaultdict

import pytest
from scipy import stats

from polymodal.envs.questions import FAMILIES, Question, ask
from polymodal.envs.scenes import COLOURS, PLACES, SHAPES, SIZES, TEXTURES, pixels, scene

WORD = {
    word: name
    for name, kind in (("size", SIZES), ("texture", TEXTURES), ("colour", COLOURS))
    for word in kind
}
WORD |= dict.fromkeys(SHAPES, "shape")
PLURAL = {"crosses": "cross"} | {f"{shape}s": shape for shape in SHAPES if shape != "cross"}
NOUN = "|".join([*PLURAL, "objects", *SHAPES, "object"])
NAMED = re.compile(rf"((?:(?:{'|'.join(WORD)}) )*)({NOUN})\b")
HOP = re.compile(r"object (left of|right of|above|below) (?:the|it|that)")


def meant(seen, words, noun):
    """The objects that a description fits."""
    wanted = {WORD[word]: word for word in words.split()}
    if (shape := PLURAL.get(noun, noun)) in SHAPES:
        wanted["shape"] = shape
    return [
        thing
        for thing in seen.objects
        if all(getattr(thing, name) == value for name, value in wanted.items())
    ]


def the(things):
    assert len(things) == 1, "a question speaks of one object"
    return things[0]


def on(seen, way, other):
    ahead = {"left of": lambda o: o.x < other.x, "right of": lambda o: o.x > other.x}
    ahead |= {"above": lambda o: o.y < other.y, "below": lambda o: o.y > other.y}
    return the([thing for thing in seen.objects if thing is not other and ahead[way](thing)])


def solved(seen, question):
    """The answer by a reader of the words and the scene that shares nothing with the writer."""
    text, family = question.question, question.family
    named = [meant(seen, *found) for found in NAMED.findall(text)]
    match family:
        case "colour" | "shape" | "texture" | "size" | "place":
            return getattr(the(named[0]), family)
        case "sign":
            side = re.search(r"(left|right|upper|lower)? ?sign", text).group(1)
            key = {
                "left": lambda s: s.x,
                "right": lambda s: -s.x,
                "upper": lambda s: s.y,
                "lower": lambda s: -s.y,
            }
            return min(seen.signs, key=key[side]).text if side else the(seen.signs).text
        case "count":
            return str(len(named[0]))
        case "exists":
            return "yes" if named[0] else "no"
        case "left_right":
            one, other = (the(found) for found in named)
            if "right of" in text or text.startswith("is"):
                one, other = (other, one) if text.startswith("left") else (one, other)
            else:
                one, other = other, one
            return "left" if one.x < other.x else "right"
        case "compare":
            one, other = (len(found) for found in named)
            if text.startswith("compared"):
                one, other = other, one
            return "equal" if one == other else "more" if one > other else "fewer"
        case "count_sum":
            return str(sum(len(found) for found in named[:2]))
        case "sign_sum":
            return str(sum(int(sign.text) for sign in seen.signs))
        case "two_hop":
            first, second = re.findall(r"(left of|right of|above|below)", text)
            if text.startswith("what"):
                first, second = second, first
            anchor = NAMED.findall(re.sub(r"object (?=left of|right of|above|below)", "", text))[0]
            return on(seen, second, on(seen, first, the(meant(seen, *anchor)))).colour
        case _:
            name = re.search("shape|size|texture", text).group()
            counts = Counter(getattr(thing, name) for thing in seen.objects)
            assert sorted(counts.values())[0] == 1
            assert len(counts) == 2
            assert len(seen.objects) >= 3
            return the([thing for thing in seen.objects if counts[getattr(thing, name)] == 1]).colour


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("signs", [None, (2, 2)])
def test_answers_are_true_and_among_the_choices(family, signs):
    for i in range(40):
        seen, question = ask(i, family=family, split="test", seed=4, signs=signs, numbers=range(16))
        assert question.answer in question.choices
        assert question.answer == solved(seen, question), (question, seen)
        assert question.family == family
        assert question.question == question.question.lower()
        if signs:
            assert len(seen.signs) == 2


@pytest.mark.parametrize("family", [family for family in FAMILIES if family != "sign_sum"])
def test_no_answer_is_more_frequent_and_words_alone_tell_none(family):
    """Each answer once in k questions; a reader of the words alone (naive Bayes) is right by chance."""
    asked = [ask(i, family=family, split="train", seed=1)[1] for i in range(720)]
    choices = asked[0].choices
    counts = Counter(question.answer for question in asked)
    assert set(counts) == set(choices)
    assert max(counts.values()) <= 720 / len(choices) + 1
    learnt, tested = asked[:480], asked[480:]
    words = defaultdict(Counter)
    for question in learnt:
        words[question.answer].update(set(question.question.split()))
    prior = Counter(question.answer for question in learnt)

    def likely(answer, text):
        return math.log(prior[answer]) + sum(
            math.log((words[answer][word] + 1) / (prior[answer] + 2)) for word in sorted(set(text.split()))
        )

    right = sum(max(prior, key=lambda a: likely(a, q.question)) == q.answer for q in tested)
    assert stats.binomtest(right, len(tested), 1 / len(choices), alternative="greater").pvalue > 0.0005


def test_sums_are_as_frequent_as_two_numbers_make_them():
    asked = [ask(i, family="sign_sum", split="train", seed=0) for i in range(600)]
    assert asked[0][1].choices == tuple(str(n) for n in range(31))
    counts = Counter(question.answer for _, question in asked)
    assert stats.binomtest(counts["15"], 600, 16 / 256).pvalue > 0.001
    pairs = {(3, 14), (14, 2), (0, 0)}
    for i in range(40):
        seen, _ = ask(i, family="sign_sum", split="train", seed=0, pairs=pairs)
        left, right = sorted(seen.signs, key=lambda sign: (sign.x, sign.y))
        assert (int(left.text), int(right.text)) in pairs


def test_a_question_can_be_asked_alone_and_splits_share_none():
    one = ask(41, family="place", split="train", seed=0)
    assert ask(41, family="place", split="train", seed=0) == one
    assert ask(41, family="place", split="test", seed=0)[0].objects != one[0].objects
    assert ask(41, family="place", split="train", seed=1)[0].objects != one[0].objects
    keys = {ask(0, family=family, split="train", seed=0)[0].key for family in FAMILIES}
    assert len(keys) == len(FAMILIES)
    assert scene(41, split="train", seed=0).objects != one[0].objects
    assert (pixels(one[0]) == pixels(one[0])).all()


def test_worlds_may_be_smaller():
    world = {
        "shapes": ("star", "ring", "cross"),
        "colours": ("red", "blue", "green"),
        "hold_out": {("star", "red")},
    }
    for family in FAMILIES:
        for i in range(12):
            seen, question = ask(i, family=family, split="t", seed=0, size=48, **world)
            pairs = {(thing.shape, thing.colour) for thing in seen.objects}
            assert not pairs & world["hold_out"]
            assert {shape for shape, _ in pairs} <= set(world["shapes"])
            assert question.answer == solved(seen, question)
    assert ask(0, family="colour", split="t", seed=0, **world)[1].choices == world["colours"]
    words = ask(0, family="sign", split="t", seed=0, numbers=("stop", "open"))
    assert words[1].choices == ("stop", "open")
    assert words[0].signs[0].text == words[1].answer


def test_counts_go_to_six_and_places_are_all_nine():
    assert ask(0, family="count", split="t", seed=0)[1].choices == ("1", "2", "3", "4", "5", "6")
    assert ask(0, family="count", split="t", seed=0, n=(2, 4))[1].choices == ("1", "2", "3", "4")
    assert all(
        2 <= len(ask(i, family="count", split="t", seed=0, n=(2, 4))[0].objects) <= 4 for i in range(30)
    )
    assert ask(0, family="place", split="t", seed=0)[1].choices == PLACES
    assert isinstance(ask(0, family="place", split="t", seed=0)[1], Question)
    assert set(FAMILIES.values()) == {"perception", "reasoning"}


def test_what_a_question_stands_on_is_told():
    needs = {family: ask(0, family=family, split="t", seed=0)[1].needs for family in FAMILIES}
    assert all(needs[family] == (family,) for family, kind in FAMILIES.items() if kind == "perception")
    assert needs["sign_sum"] == ("sign",)
    assert needs["two_hop"] == ("left_right", "colour")
    assert all(FAMILIES[name] == "perception" for names in needs.values() for name in names)


@pytest.mark.parametrize(
    ("options", "told"),
    [
        ({"family": "smell"}, "no family 'smell'; known: colour"),
        ({"family": "sign", "signs": (0, 1)}, r"signs=\(0, 1\)"),
        ({"family": "colour", "signs": (3, 3)}, "0 to 2"),
        ({"family": "left_right", "n": (1, 1)}, "need 2 objects"),
        ({"family": "sign_sum", "numbers": ("stop",)}, "not words"),
        ({"family": "sign_sum", "pairs": {(3, 17)}}, "pairs"),
        ({"family": "texture", "textures": ("plain",), "n": (1, 1), "size": 20}, "32 to 1024"),
        (
            {"family": "exists", "shapes": ("star",), "colours": ("red",), "textures": ("plain",)},
            "more kinds",
        ),
        ({"family": "compare", "shapes": ("star",), "colours": ("red",)}, "more kinds"),
        (
            {
                "family": "count",
                "colours": ("red",),
                "shapes": ("ring",),
                "textures": ("plain",),
                "n": (2, 3),
            },
            "kinds",
        ),
        (
            {"family": "odd_one_out", "shapes": ("ring",), "sizes": ("small",), "textures": ("plain",)},
            "kinds",
        ),
    ],
)
def test_what_cannot_be_asked_is_refused_by_name(options, told):
    with pytest.raises(ValueError, match=told):
        ask(0, **({"split": "train", "seed": 0} | options))
