"""A part remembers what made it."""

import json

import pytest
import torch
from torch import nn

from polymodal.nn import Chain, Dense, Scaler, Several, Softmax, build, member
from polymodal.nn.heads import Regress
from polymodal.nn.members import within


def test_spec_is_json_and_build_repeats_it() -> None:
    chain = Chain(Scaler(3), Dense(3, dim=4, dropout=0.1))
    spec = json.loads(json.dumps(chain.spec))
    assert spec["members"][1] == {"class": "Dense", "width": 3, "dim": 4, "layers": 1, "dropout": 0.1}
    twin = build(spec)
    assert twin.spec == chain.spec
    twin.load_state_dict(chain.state_dict())
    x, mask = torch.randn(2, 5, 3), torch.ones(2, 5, dtype=torch.bool)
    assert torch.equal(twin.eval()(x, mask).vector, chain.eval()(x, mask).vector)


def test_order_of_mappings_survives_sorted_json() -> None:
    head = Several({"b": Softmax(4, 2), "a": Regress(4, span=(-3.0, 3.0))}, weights={"b": 2.0})
    twin = build(json.loads(json.dumps(head.spec, sort_keys=True)))
    assert list(twin.heads) == ["b", "a"]
    assert twin.heads["a"].span == (-3.0, 3.0)
    assert twin.weights == {"b": 2.0, "a": 1.0}
    assert [spec["class"] for spec in within(head.spec)] == ["Several", "Softmax", "Regress"]


def test_unknown_kind_says_what_is_known() -> None:
    with pytest.raises(ValueError, match=r"unknown network part 'Magic'; known: .*Dense"):
        build({"class": "Magic"})


def test_two_parts_cannot_share_a_name() -> None:
    with pytest.raises(ValueError, match="a network part named Dense exists already"):
        member(type("Dense", (nn.Module,), {}))


def test_a_subclass_keeps_its_own_arguments() -> None:
    @member
    class Wide(Dense):
        def __init__(self, width: int) -> None:
            super().__init__(width, 2 * width)

    assert Wide(3).spec == {"class": "Wide", "width": 3}
    assert build(Wide(3).spec).dim == 6
