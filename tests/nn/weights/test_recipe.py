"""Words and weights of a merge."""

import pytest

from polymodal.nn.weights import Recipe, recipe


def test_unknown_words_name_the_known() -> None:
    with pytest.raises(
        ValueError,
        match=r"'ties'; did you mean ties_weight \(mergekit's\) or ties_count \(PEFT's\)\? Known: linear",
    ):
        Recipe("ties")
    with pytest.raises(ValueError, match="density"):
        Recipe(density=0.0)
    with pytest.raises(ValueError, match="keep or merge"):
        Recipe(embeddings="yes")
    with pytest.raises(ValueError, match="finite"):
        Recipe(weights=(float("nan"),))


def test_weights_fit_models() -> None:
    assert recipe("linear", 0.9).warnings(2) == []
    with pytest.raises(ValueError, match="2 weights for a target and 2 donors"):
        recipe("linear", [0.5, 0.5]).warnings(2)
    with pytest.raises(ValueError, match="one donor"):
        recipe("slerp").warnings(2)
    with pytest.raises(ValueError, match="from 0 to 1"):
        recipe("slerp", 1.6).warnings(1)
    assert "1.6 lies outside 0 to 1" in recipe("linear", 1.6).warnings(1)[0]
    assert any("sum to 1.2" in text for text in recipe("linear", [0.6, 0.6]).warnings(1))


def test_shares_of_donors() -> None:
    assert recipe(weight=0.8).weights_of("t", 0, 4, 2) == pytest.approx((0.8, 0.1, 0.1))
    assert recipe(weight=[0.7, 0.2, 0.1]).weights_of("t", 0, 4, 2) == (0.7, 0.2, 0.1)


def test_first_rule_wins_and_shares_the_rest_in_proportion() -> None:
    made = recipe(weight=[0.7, 0.2, 0.1], rules=(("*.mlp.*", 0.4), ("*", 1.0)))
    assert made.weights_of("a.mlp.b", 0, 4, 2) == pytest.approx((0.4, 0.4, 0.2))
    assert made.weights_of("a.attn.b", 0, 4, 2) == (1.0, 0.0, 0.0)


def test_depth_is_interpolated_and_layer_swap_cuts() -> None:
    deep = Recipe(weights=(0.5,), depth=(1.0, 0.5, 0.0))
    assert [deep.weights_of("t", n, 5, 1)[0] for n in range(5)] == [1.0, 0.75, 0.5, 0.25, 0.0]
    assert deep.weights_of("norm", None, 5, 1)[0] == 0.0
    swap = Recipe("layer_swap", (0.5,), swap=1)
    assert [swap.weights_of("t", n, 5, 1)[0] for n in (0, 1, 2, None)] == [1.0, 1.0, 0.5, 0.5]
