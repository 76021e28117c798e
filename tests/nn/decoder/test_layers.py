"""Layers by hand: norm, rotation, gated feed-forward, causal order."""

import math

import pytest
import torch
from tests.nn.decoder import tiny

from polymodal.nn.decoder import Shape
from polymodal.nn.decoder.layers import Cache, Feed, Norm, turned, turns


def test_norm_by_hand() -> None:
    norm = Norm(2, 0.5)
    norm.weight.data = torch.tensor([1.0, 2.0])
    out = norm(torch.tensor([[[3.0, 4.0]]]))
    scale = math.sqrt(12.5 + 0.5)
    torch.testing.assert_close(out, torch.tensor([[[3 / scale, 8 / scale]]]))


def test_rotation_by_hand_and_only_distances_matter() -> None:
    table = turns(Shape(dim=4, layers=1, heads=1, hidden=4, vocabulary=8, context=32))
    x = torch.tensor([1.0, 2.0, 3.0, 4.0]).expand(1, 1, 32, 4)
    row = turned(x, table)[0, 0, 5]
    slow = 5 / 10_000**0.5
    wanted = [
        1 * math.cos(5) - 3 * math.sin(5),
        2 * math.cos(slow) - 4 * math.sin(slow),
        3 * math.cos(5) + 1 * math.sin(5),
        4 * math.cos(slow) + 2 * math.sin(slow),
    ]
    torch.testing.assert_close(row, torch.tensor(wanted))
    spun = turned(torch.randn(1, 1, 1, 4).expand(1, 1, 32, 4), table)[0, 0]
    other = turned(torch.randn(1, 1, 1, 4).expand(1, 1, 32, 4), table)[0, 0]
    torch.testing.assert_close(spun[3] @ other[7], spun[20] @ other[24], atol=1e-5, rtol=1e-5)


def test_feed_by_hand() -> None:
    feed = Feed(1, 1)
    for layer, weight in ((feed.gate_proj, 2.0), (feed.up_proj, 3.0), (feed.down_proj, 5.0)):
        layer.weight.data = torch.tensor([[weight]])
    gate = 2.0 / (1 + math.exp(-2.0))
    torch.testing.assert_close(feed(torch.ones(1, 1, 1)), torch.full((1, 1, 1), gate * 3 * 5))


@pytest.mark.parametrize("masked", [False, True])
def test_no_token_sees_what_comes_after_it(masked: bool) -> None:
    net = tiny.decoder()
    ids = torch.randint(4, 200, (2, 12))
    changed = ids.clone()
    changed[:, 7:] += 1
    mask = torch.ones_like(ids, dtype=torch.bool)
    mask[0, 0] = not masked
    before, after = net(ids, mask), net(changed, mask)
    torch.testing.assert_close(before[:, :7], after[:, :7])
    assert not torch.allclose(before[:, 7:], after[:, 7:])


def test_a_cache_picks_rows_in_any_order_and_number() -> None:
    shape = Shape(dim=4, layers=2, heads=1, hidden=4, vocabulary=8, context=8)
    cache = Cache(shape, 2, 3, torch.zeros(1))
    keys = torch.arange(8.0).reshape(2, 1, 1, 4)
    cache.add(1, keys, -keys)
    cache.real[0, 0], cache.n = False, 1
    picked = cache.pick(torch.tensor([1, 0, 1]))
    assert picked.n == 1
    assert torch.equal(picked.slabs[1][0, :, :, :1], keys[[1, 0, 1]])
    assert picked.real[:, 0].tolist() == [True, False, True]
