"""Encoders of features: contracts, statistics, packing, masks."""

from collections.abc import Callable

import numpy as np
import pytest
import torch
from torch import Tensor

from polymodal.nn import Chain, Convolved, Dense, Encoder, LogMel, Patches, Recurrent, Scaler
from polymodal.nn.encoders import keep, mean
from polymodal.testing import check_encoder


def fitted(width: int) -> Scaler:
    x = 5 + 3 * torch.randn(4, 9, width)
    return Scaler(width).fit([(x, torch.ones(4, 9, dtype=torch.bool))], digest="d")


def everything(b: int, t: int) -> Tensor:
    return torch.ones(b, t, dtype=torch.bool)


MEMBERS: dict[str, Callable[[], Encoder]] = {
    "scaler": lambda: Scaler(5),
    "fitted scaler": lambda: fitted(5),
    "dense": lambda: Dense(5, 8, layers=2),
    "chain": lambda: Chain(fitted(5), Dense(5, 8)),
    "gru": lambda: Recurrent(5, 8),
    "lstm": lambda: Recurrent(5, 8, cell="lstm", bidirectional=False),
    "convolved": lambda: Convolved(5, 8),
    "strided by 3": lambda: Convolved(5, 8, layers=1, kernel=5, stride=3),
    "convolved gru": lambda: Chain(Convolved(5, 8, layers=1), Recurrent(8, 6)),
}


@pytest.mark.parametrize("name", MEMBERS)
def test_contract(name: str) -> None:
    check_encoder(MEMBERS[name])


def test_the_contract_finds_padding_that_leaks() -> None:
    class Leaky(Dense):
        def forward(self, x: Tensor, mask: Tensor) -> object:
            return super().forward(x - x.mean(1, keepdim=True), mask)

    with pytest.raises(AssertionError, match="Leaky: tokens change with padding"):
        check_encoder(lambda: Leaky(5, 8))


def test_keep_and_mean_by_hand() -> None:
    x = torch.tensor([[[1.0], [3.0], [float("nan")]], [[float("inf")]] * 3])
    mask = torch.tensor([[True, True, False], [False] * 3])
    assert keep(x, mask)[..., 0].tolist() == [[1, 3, 0], [0, 0, 0]]
    assert mean(x, mask).tolist() == [[2], [0]]


def test_scaler_by_hand() -> None:
    x = torch.tensor([[[1.0, 7.0], [3.0, 7.0], [99.0, 99.0]]])
    mask = torch.tensor([[True, True, False]])
    scaler = Scaler(2).fit([(x, mask)], digest="abc")
    assert scaler.digest == "abc"
    assert scaler(x, mask).tokens.tolist() == [[[-1, 0], [1, 0], [0, 0]]]
    assert scaler(torch.tensor([[[1e6, 8.0]]]), everything(1, 1)).tokens.tolist() == [[[10, 0]]]


def test_scaler_in_batches_equals_numpy_and_ignores_bad_cells() -> None:
    rng = np.random.default_rng(0)
    x = rng.normal(1e4, [1, 5, 20], (40, 6, 3))
    x[3, 2, 1] = np.nan
    x[5, 1, 0] = np.inf
    mask = rng.random((40, 6)) < 0.7
    scaler = Scaler(3).fit(
        ((torch.tensor(x[i : i + 7]), torch.tensor(mask[i : i + 7])) for i in range(0, 40, 7)),
        digest="f" * 64,
    )
    cells = np.where(np.isfinite(x), x, np.nan)[mask]
    np.testing.assert_allclose(scaler.location, np.nanmean(cells, 0), rtol=1e-12)
    np.testing.assert_allclose(scaler.sd, np.nanstd(cells, 0), rtol=1e-10)
    out = scaler(torch.tensor(x[3:4]), torch.tensor(np.ones((1, 6), bool))).tokens
    assert out[0, 2, 1] == 0
    assert out.isfinite().all()


def test_scaler_forgets_between_fits_and_survives_a_state_dict() -> None:
    batch = [(torch.randn(3, 4, 2), everything(3, 4))]
    scaler = (
        Scaler(2).fit([(torch.randn(9, 4, 2) * 50, everything(9, 4))], digest="old").fit(batch, digest="new")
    )
    assert torch.equal(scaler.location, Scaler(2).fit(batch).location)
    twin = Scaler(2)
    assert twin.digest == ""
    twin.load_state_dict(scaler.state_dict())
    assert twin.digest == "new"
    assert torch.equal(twin(*batch[0]).tokens, scaler(*batch[0]).tokens)
    with pytest.raises(ValueError, match="digest has 65 characters"):
        scaler.reset(digest="x" * 65)


def test_an_all_missing_column_becomes_zero() -> None:
    x = torch.randn(2, 3, 2)
    x[..., 1] = float("nan")
    out = Scaler(2).fit([(x, everything(2, 3))])(x, everything(2, 3))
    assert (out.tokens[..., 1] == 0).all()


def test_chain_names_the_link_that_does_not_fit() -> None:
    with pytest.raises(ValueError, match="chain member 1 reads 4 columns but is given 3"):
        Chain(Scaler(3), Dense(4, 2))
    assert Chain(Dense(3, 2)).example(4).shape == (1, 4, 3)
    assert Chain(LogMel(8000), Dense(64, 2)).example(4).shape == (1, 4, 1)


def test_dense_is_the_published_layer() -> None:
    dense = Dense(3, 2).eval()
    linear = dense.layers[0]
    x = torch.randn(4, 1, 3)
    want = torch.relu(torch.einsum("bd,kd->bk", x[:, 0], linear.weight) + linear.bias)
    torch.testing.assert_close(dense(x, everything(4, 1)).vector, want)


@pytest.mark.parametrize("cell", ["gru", "lstm"])
def test_recurrent_passes_over_holes_in_the_mask(cell: str) -> None:
    """Left padding and gaps give the same states as the real tokens side by side."""
    encoder = Recurrent(3, 4, cell=cell).eval()
    x = torch.randn(1, 6, 3)
    mask = torch.tensor([[False, True, True, False, True, False]])
    out = encoder(x, mask)
    dense = encoder(x[:, mask[0]], everything(1, 3))
    torch.testing.assert_close(out.tokens[:, mask[0]], dense.tokens, atol=1e-6, rtol=0)
    torch.testing.assert_close(out.vector, dense.vector, atol=1e-6, rtol=0)


@pytest.mark.parametrize("cell", ["gru", "lstm"])
def test_recurrent_is_torchs_own_on_packed_rows(cell: str) -> None:
    ours, n = Recurrent(30, 6, cell=cell), torch.tensor([5, 1, 3])
    theirs = (torch.nn.GRU if cell == "gru" else torch.nn.LSTM)(30, 3, batch_first=True, bidirectional=True)
    named = dict(ours.onward.named_parameters())
    named |= {f"{name}_reverse": x for name, x in ours.back.named_parameters()}
    theirs.load_state_dict(named)
    x = torch.randn(3, 5, 30)
    packed = torch.nn.utils.rnn.pack_padded_sequence(x, n, batch_first=True, enforce_sorted=False)
    out, state = theirs(packed)
    want, _ = torch.nn.utils.rnn.pad_packed_sequence(out, batch_first=True)
    got = ours(x, torch.arange(5) < n[:, None])
    torch.testing.assert_close(got.tokens, want, atol=1e-6, rtol=0)
    last = state if cell == "gru" else state[0]
    torch.testing.assert_close(got.vector, torch.cat([*last], 1), atol=1e-6, rtol=0)
    assert torch.backends.mkldnn.enabled


def test_recurrent_vector_is_the_last_state_of_each_direction() -> None:
    encoder = Recurrent(3, 4).eval()
    out = encoder(torch.randn(2, 5, 3), everything(2, 5))
    torch.testing.assert_close(out.vector, torch.cat([out.tokens[:, -1, :2], out.tokens[:, 0, 2:]], 1))


def test_recurrent_refuses_what_it_cannot_share() -> None:
    with pytest.raises(ValueError, match="two ways cannot share 5 columns"):
        Recurrent(3, 5)
    with pytest.raises(ValueError, match="cell is gru or lstm, not 'rnn'"):
        Recurrent(3, 4, cell="rnn")


@pytest.mark.parametrize("t", [1, 2, 5, 8])
def test_convolved_keeps_every_second_token(t: int) -> None:
    out = Convolved(3, 4, layers=1).eval()(torch.randn(1, t, 3), everything(1, t))
    assert out.mask.shape == (1, -(-t // 2))


def test_shapes_are_checked_in_tests() -> None:
    """The jaxtyping plug-in is on: a mask of another length is refused before anything runs."""
    with pytest.raises(Exception, match="mask"):
        Dense(3, 2)(torch.randn(2, 4, 3), everything(2, 5))
    with pytest.raises(Exception, match="x"):
        Patches((1, 4, 4), 4)(torch.randn(2, 16), everything(2, 1))
