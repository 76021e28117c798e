"""Several questions about one scene: true of it, different, and the same for the same key."""

import pytest

from polymodal.envs.questions.several import several
from polymodal.envs.scenes import Scene, scene


def truth(shown, question):
    """The answer, looked up in the scene by the words of the question."""
    words = question.question.replace("?", "").replace(".", "").replace(",", "").split()
    things = list(shown.objects)

    def fits(one):
        values = {one.shape, one.colour, one.size, one.texture}
        return all(word in values for word in words if word in KNOWN)

    return [one for one in things if fits(one)]


KNOWN = {
    *(["circle", "square", "triangle", "diamond", "star", "cross", "ring", "heart"]),
    *(["red", "green", "blue", "yellow", "purple", "orange", "cyan", "white"]),
    *(["plain", "striped", "dotted", "checked"]),
}


@pytest.mark.parametrize("index", range(40))
def test_attributes_and_places_are_those_of_the_one_object_that_is_named(index):
    shown = scene(index, split="several", seed=0, signs=(0, 1))
    asked = several(shown, 8, seed=0)
    assert len({one.question for one in asked}) == len(asked)
    assert asked == several(shown, 8, seed=0)
    for one in asked:
        assert one.answer in one.choices
        assert one.needs == (one.family,)
        if one.family in ("colour", "shape", "texture", "place"):
            named = [thing for thing in truth(shown, one) if getattr(thing, one.family) == one.answer]
            assert named, one


def test_a_scene_with_signs_alone_is_asked_for_them_and_an_empty_one_for_nothing():
    signs = scene(0, split="several", seed=0, n=(0, 0), signs=(2, 2))
    assert {one.family for one in several(signs, 4, seed=0)} == {"sign"}
    some = several(scene(3, split="train", seed=0, n=(4, 5)), 8, seed=0, families=("count", "place"))
    assert {one.family for one in some} == {"count", "place"}
    assert several(Scene(()), 4, seed=0) == ()
