"""The shelf: names, aliases, pages and options by their types."""

from dataclasses import dataclass
from typing import Any, Literal

import pytest

from polymodal.systems import shelf


@dataclass(frozen=True)
class Config:
    dim: int = 32
    lr: float = 1e-3
    data: str | None = None
    fusion: tuple[str, ...] = ("concat",)
    protocol: Literal["speaker", "random"] = "speaker"
    tuned: bool = False
    odd: dict[str, int] | None = None


def test_every_box_is_on_the_shelf_with_a_page() -> None:
    assert set(shelf.known()) == set(shelf.SHELF)
    for name in shelf.known():
        page = shelf.page(name)
        assert page.job in ("make", "judge", "act")
        for heading in ("Claim", "Kept", "Left out", "Try", "Your data", "Measured"):
            assert heading in page.text, f"{name}: no {heading}"


def test_aliases_lead_to_the_system() -> None:
    for name, (_, aliases) in shelf.SHELF.items():
        assert {shelf.resolve(alias.upper()) for alias in aliases} == {name}


@pytest.mark.parametrize(
    ("text", "kind", "value"),
    [
        ("3", int, 3),
        ("3e-4", float, 3e-4),
        ("a b", str, "a b"),
        ("YES", bool, True),
        ("0", bool, False),
        ("none", str | None, None),
        ("", int | None, None),
        ("7", int | None, 7),
        ("a,b", tuple[str, ...], ("a", "b")),
        ("1,2", tuple[int, ...], (1, 2)),
        ("random", Literal["speaker", "random"], "random"),
        ("learned", float | Literal["learned"], "learned"),
        ("0.9", float | Literal["learned"], 0.9),
    ],
)
def test_options_are_parsed_by_type(text: str, kind: Any, value: object) -> None:
    assert shelf.parse(text, kind) == value


@pytest.mark.parametrize(
    ("options", "error", "said"),
    [
        ({"dims": "3"}, LookupError, "Did you mean 'dim'"),
        ({"dim": "3.5"}, ValueError, "dim=3.5"),
        ({"tuned": "perhaps"}, ValueError, "true or false"),
        ({"protocol": "speakers"}, ValueError, "Did you mean 'speaker'"),
        ({"odd": "1"}, ValueError, "cannot be given"),
    ],
)
def test_wrong_options_say_what_is_known(options: dict[str, str], error: type[Exception], said: str) -> None:
    with pytest.raises(error, match=said):
        shelf.override(Config(), options)


def test_overrides_leave_the_rest_alone() -> None:
    changed = shelf.override(Config(), {"dim": "8", "fusion": "late,outer"})
    assert changed == Config(dim=8, fusion=("late", "outer"))


def test_the_model_to_judge_is_said_either_way() -> None:
    @dataclass(frozen=True)
    class Judged:
        target: str = "scripted:echo"

    assert shelf.override(Judged(), {"model": "local:x"}) == shelf.override(Judged(), {"target": "local:x"})
    with pytest.raises(LookupError, match="'model' is not known"):
        shelf.override(Config(), {"model": "local:x"})


def test_recipes_keep_the_house_rules() -> None:
    from dataclasses import fields

    for name in shelf.known():
        recipe = shelf.load(name)
        assert len(fields(recipe.Config)) <= 16, name
        assert recipe.CLAIMS, name
        assert type(recipe.tiny()) is type(recipe.full()) is recipe.Config
        with pytest.raises(AttributeError):
            recipe.tiny().seed = 3


def test_a_run_of_another_version_is_told_so():
    recipe = shelf.load("fine_alignment")
    assert shelf.restored(recipe, {"arms": ["hard"]}).arms == ("hard",)
    with pytest.raises(ValueError, match=r"begun with a field 'lockd', which this version does not have"):
        shelf.restored(recipe, {"lockd": False})


def test_a_word_in_place_of_a_number_is_told_which_would_do() -> None:
    with pytest.raises(ValueError, match=r"'lerned'; learned would do"):
        shelf.parse("lerned", float | Literal["learned"])
