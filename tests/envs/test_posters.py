import numpy as np
import pytest

from polymodal.envs import posters


def test_words_have_their_gender_and_are_found_again():
    assert posters.spoken("red circle", "lv") == "sarkans aplis"
    assert posters.spoken("red star", "lv") == "sarkana zvaigzne"
    assert posters.spoken("honey", "lv") == "medus"
    assert posters.named("Zaļa zvaigzne un desa; a Blue square") == ["zaļa zvaigzne", "desa", "blue square"]
    assert len(posters.THINGS) == 16
    assert len(posters.FOODS) == 12
    with pytest.raises(ValueError, match="not 'et'"):
        posters.spoken("soup", "et")


def test_every_poster_is_another_picture():
    assert len(posters.catalogue()) == 16 * 24
    found = posters.catalogue()[posters.poster("blue star", "zupa").digest()]
    assert found == ("blue star", "zupa")


def test_blurred_words_are_wrong_as_often_as_said_and_any_other_as_often():
    n = 4000
    said = [posters.blurred("soup", posters.FOODS, 0.3, 7, i) for i in range(n)]
    assert np.mean([word != "soup" for word in said]) == pytest.approx(0.3, abs=0.025)
    counts = [said.count(word) for word in posters.FOODS if word != "soup"]
    assert max(counts) < 2 * min(counts)


@pytest.mark.parametrize(
    ("right", "tau", "kinds"), [(0.9, 0.0, 16), (0.8, 0.1, 12), (0.9, 0.3, 16), (1.0, 0.0, 12)]
)
def test_chance_of_a_match_against_a_count_of_all_cases(right, tau, kinds):
    """All pairs of what is heard and what is seen, each with its probability."""

    def spread(true, wrong):
        return np.array([1 - wrong if k == true else wrong / (kinds - 1) for k in range(kinds)])

    equal, different = posters.matching(right, tau, kinds)
    assert equal == pytest.approx(spread(0, tau) @ spread(0, 1 - right))
    assert different == pytest.approx(spread(0, tau) @ spread(1, 1 - right))


TABLE = [
    (1.0, 0.0, 1, 1, 1),
    (0.9, 0.0, 0.9467, 0.9455, 0.8950),
    (0.8, 0.0, 0.8933, 0.8909, 0.7959),
    (0.6, 0.0, 0.7867, 0.7818, 0.6150),
    (0.9, 0.1, 0.8990, 0.8969, 0.8063),
    (0.8, 0.1, 0.8514, 0.8483, 0.7222),
    (0.9, 0.3, 0.8037, 0.7997, 0.6427),
]


@pytest.mark.parametrize(("d", "tau", "b", "a", "four"), TABLE)
def test_closed_forms_are_the_table_s(d, tau, b, a, four):
    found = posters.expected(see=d, read=d, tau=tau)
    assert [found["represented"], found["adds"], found["class"]] == pytest.approx([b, a, four], abs=6e-5)


def test_closed_forms_of_bias_and_refusals():
    found = posters.expected(bias=0.2)
    assert [found["represented"], found["adds"], found["class"]] == pytest.approx(
        [0.8573, 0.8564, 0.7342], abs=6e-5
    )
    assert posters.expected(refuse=0.1)["class"] == pytest.approx(0.81 * 0.8950, abs=6e-5)


def test_closed_forms_are_monotone():
    grid = [0.5, 0.6, 0.7, 0.8, 0.9, 1.0]
    rising = [posters.expected(see=d, read=d)["class"] for d in grid]
    falling = [posters.expected(tau=tau)["class"] for tau in (0, 0.1, 0.2, 0.3, 0.5)]
    assert rising == sorted(rising)
    assert falling == sorted(falling, reverse=True)


def test_foretold_reads_a_spec_and_says_nothing_where_it_knows_nothing():
    assert posters.foretold("scripted:relation") == posters.expected()
    assert posters.foretold("scripted:relation?see=.8&read=.8", 0.1)["class"] == pytest.approx(
        0.7222, abs=6e-5
    )
    assert posters.foretold("scripted:relation?tau=.1", 0.1) == {}
    assert posters.foretold("scripted:relation?lean=.1") == {}
    assert posters.foretold("scripted:relation?translate=false") == {}
    assert posters.foretold("openai:model@http://localhost") == {}
