import re
from collections import Counter
from itertools import product

import pytest

from polymodal.envs.captions import VALUES, WHERE, Fact, counted, facts, long, negatives, phrase, short
from polymodal.envs.scenes import COLOURS, PLACES, SHAPES, SIZES, TEXTURES, WORDS, Object, Scene, Sign, scene

KINDS = {"size": SIZES, "texture": TEXTURES, "colour": COLOURS, "shape": SHAPES}
LOOK = re.compile("a (" + ") (".join("|".join(kind) for kind in KINDS.values()) + ")")
SPOKEN = {words: where for where, words in WHERE.items()}
PLACED = re.compile("|".join(sorted(SPOKEN, key=len, reverse=True)))


def read(text):
    """The attributes and the place that a phrase names, by its words; a second reader than the writer."""
    words = set(re.findall(r"[a-z]+", PLACED.sub("", text)))
    found = {name: next(value for value in kind if value in words) for name, kind in KINDS.items()}
    return found | {"place": SPOKEN[PLACED.search(text).group()]}


def many(count, **options):
    return [scene(i, **({"split": "train", "seed": 0} | options)) for i in range(count)]


def test_short_captions_count_what_is_there():
    one = Scene(
        (
            Object("star", "red", "small", "plain", 0.2, 0.2),
            Object("circle", "blue", "small", "plain", 0.5, 0.5),
            Object("circle", "blue", "large", "dotted", 0.8, 0.8),
            Object("cross", "orange", "large", "dotted", 0.8, 0.2),
        ),
        (Sign("12", 0.2, 0.8, 0.3, 0.2),),
    )
    assert "a red star, two blue circles, an orange cross and the number 12" in short(one, seed=0)
    assert {short(one, seed=s) for s in range(40)} == {
        form.format("a red star, two blue circles, an orange cross and the number 12")
        for form in ("{}", "{} on grey", "a scene with {}", "{} in one picture")
    }
    assert "nothing" in short(Scene(()), seed=0)
    assert counted(13, "cross") == "13 crosses"
    assert counted(1, "ring") == "one ring"


def test_long_captions_say_everything_and_nothing_false():
    for one in many(120, n=(1, 5), signs=(0, 2), numbers=(*range(32), *WORDS)):
        caption = long(one, seed=3)
        assert caption.text == caption.text.lower()
        said = [dict(zip(KINDS, look, strict=True)) for look in LOOK.findall(caption.text)]
        shown = [{name: getattr(thing, name) for name in KINDS} for thing in one.objects]
        assert said == shown
        numbers = re.findall(r"the (?:number|word) (\w+)", caption.text)
        assert numbers == [sign.text for sign in one.signs]
        places = [
            SPOKEN[found] for found in PLACED.findall(caption.text.replace("in the middle", WHERE["middle"]))
        ]
        assert Counter(places) == Counter(thing.place for thing in (*one.objects, *one.signs))


def test_facts_are_those_of_the_scene_and_in_the_text():
    for one in many(60, signs=(1, 1)):
        caption = long(one, seed=1)
        for fact in caption.facts:
            if fact.about == "relation":
                a, b = one.objects[fact.i], one.objects[fact.other]
                dx, dy = a.x - b.x, a.y - b.y
                true = {"left of": dx < 0, "right of": dx > 0, "above": dy < 0, "below": dy > 0}
                assert true[fact.value]
                further = abs(dx) >= abs(dy)
                assert further == (fact.value in ("left of", "right of"))
                assert f"{fact.value} the " in caption.text
            elif fact.about == "sign":
                assert fact == Fact("sign", fact.i, one.signs[fact.i].text)
            elif fact.about == "sign place":
                assert fact.value == one.signs[fact.i].place
            else:
                assert getattr(one.objects[fact.i], fact.about) == fact.value
        abouts = Counter(fact.about for fact in caption.facts)
        assert abouts["relation"] == abouts["shape"] == abouts["place"] == len(one.objects)
    assert long(Scene(()), seed=0).text == "there is nothing."


def test_long_captions_are_40_to_110_words_and_marks():
    """Each word and each mark is one token of a vocabulary trained on these texts."""
    lengths = [len(re.findall(r"\w+|[.,]", long(one, seed=0).text)) for one in many(300)]
    lengths += [len(re.findall(r"\w+|[.,]", long(one, seed=0).text)) for one in many(200, signs=(0, 2))]
    assert min(lengths) >= 40
    assert max(lengths) <= 110


def test_forms_are_four_and_drawn_apart_from_the_scene():
    one = many(1)[0]
    texts = {phrase(one, 0, seed=s) for s in range(40)}
    assert len(texts) == 4
    assert {tuple(sorted(read(text).items())) for text in texts} == {
        tuple(sorted(facts(one.objects[0]).items()))
    }
    assert phrase(one, 0, seed=5) == phrase(one, 0, seed=5)
    with pytest.raises(IndexError):
        phrase(one, 9, seed=0)


@pytest.mark.parametrize("changes", [1, 2, 3])
def test_negatives_change_as_many_attributes_as_said_and_are_false_of_the_image(changes):
    for one in many(60, n=(4, 5), colours=("red", "blue"), shapes=("star", "ring")):
        for i, thing in enumerate(one.objects):
            found = negatives(one, i, changes=changes, seed=2)
            assert len(found) == 10
            assert len({negative.text for negative in found}) == 10
            for negative in found:
                said, own = read(negative.text), facts(thing)
                changed = {name for name in own if said[name] != own[name]}
                assert changed == set(negative.changed)
                assert len(changed) == changes
                assert "shape" not in changed
                assert "place" not in changed
                assert all(said != facts(other) for other in one.objects)


def test_negatives_are_in_the_words_of_the_phrase():
    one = many(1)[0]
    true = phrase(one, 1, seed=7)
    for negative in negatives(one, 1, seed=7):
        words = zip(true.split(), negative.text.split(), strict=True)
        assert sum(a != b for a, b in words) == 1


def test_negatives_that_are_true_of_a_neighbour_stay_where_only_the_region_is_avoided():
    pair = Scene(
        (
            Object("star", "red", "small", "plain", 0.1, 0.1),
            Object("star", "blue", "small", "plain", 0.25, 0.25),
        )
    )
    options = {"n": 99, "attributes": ("colour",), "seed": 0}
    assert len(negatives(pair, 0, avoid="region", **options)) == 7
    rest = negatives(pair, 0, avoid="image", **options)
    assert len(rest) == 6
    assert not any("blue" in negative.text for negative in rest)


def test_as_many_negatives_come_as_there_are():
    one = many(1)[0]
    assert len(negatives(one, 0, n=99, avoid="region", seed=0)) == 7 + 1 + 3 + 8
    shapes = negatives(one, 0, attributes=("shape",), n=99, avoid="region", seed=0)
    assert len(shapes) == 7
    assert {negative.changed for negative in shapes} == {("shape",)}
    few = negatives(one, 0, attributes=("colour",), values={"colour": ("red", "blue", "green")}, seed=0)
    assert 1 <= len(few) <= 3
    assert negatives(one, 0, n=0, seed=0) == ()
    every = negatives(one, 0, n=9999, changes=2, attributes=("colour", "place"), avoid="region", seed=0)
    assert len(every) == 7 * 8
    assert len(list(product(*(VALUES[name] for name in VALUES)))) == 8 * 8 * 2 * 4 * len(PLACES)


@pytest.mark.parametrize(
    "options",
    [
        {"changes": 0},
        {"changes": 5},
        {"attributes": ("weight",)},
        {"attributes": ("colour", "colour")},
        {"avoid": "all"},
    ],
)
def test_what_cannot_be_changed_is_refused(options):
    with pytest.raises(ValueError, match=next(iter(options))):
        negatives(many(1)[0], 0, seed=0, **options)
