"""Contracts of networks: encoders and fusions."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from torch import Tensor

    from polymodal.nn import Encoded, Encoder, Fused, Fusion

TOLERANCE = 1e-6
DIMS = {"text": 6, "audio": 4, "video": 5}


def check_encoder(
    make: Callable[[], Encoder],
    *,
    t: int = 7,
    draw: Callable[[int], Tensor] | None = None,
    seed: int = 0,
) -> None:
    """An encoder ignores padding, takes a batch of one, survives rows without a token, and can be rebuilt.

    Args:
        make: gives the encoder.
        t: steps of the longer of the two samples that are padded together; the shorter has about half.
        draw: one sample "1 t width" of the given length; standard normal cells if the encoder reads floats,
            else its own example.
        seed: of weights and samples.

    Raises:
        AssertionError: naming the encoder and the promise it breaks.
    """
    import torch

    from polymodal.nn import build

    torch.manual_seed(seed)
    encoder = make().eval()
    name = type(encoder).__name__
    samples = [_sample(encoder, n, draw) for n in (t, t // 2 + 1)]
    alone = [encoder(x, _whole(x)) for x in samples]
    for out in alone:
        _check_encoded(out, encoder, name)
    for garbage in _garbage(samples[0]):
        x, mask = _padded(samples, garbage)
        together = encoder(x, mask)
        _check_encoded(together, encoder, name)
        for i, out in enumerate(alone):
            row = together.tokens[i][together.mask[i]]
            _close(row, out.tokens[0][out.mask[0]], f"{name}: tokens change with padding of {garbage}")
            _close(together.vector[i], out.vector[0], f"{name}: vector changes with padding of {garbage}")
        empty = encoder(x, torch.zeros_like(mask))
        _finite(empty, f"{name}: rows without a token")
        assert not empty.mask.any(), f"{name}: tokens out of nothing"
        _check_gradients(encoder, x, mask, name)
    _check_batch_of_one(encoder, samples[0], name)
    rebuilt = build(encoder.spec)
    assert {k: v.shape for k, v in rebuilt.state_dict().items()} == {
        k: v.shape for k, v in encoder.state_dict().items()
    }, f"{name}: build(spec) gives another network"


def check_fusion(make: Callable[[Mapping[str, int]], Fusion], *, seed: int = 0) -> None:
    """A fusion treats an absent part as one never given, whatever stands in it.

    The order in which parts are handed over is irrelevant, the weights of present parts sum to 1, a batch of
    one works, and modality dropout never drops all parts and is fixed by torch's seed.

    Args:
        make: gives the fusion for widths by part.
        seed: of weights and samples.

    Raises:
        AssertionError: naming the fusion and the promise it breaks.
    """
    import torch

    from polymodal.nn import build

    torch.manual_seed(seed)
    fusion = make(DIMS).eval()
    name = type(fusion).__name__
    encoded = {part: _encoded(8, 2 + i, dim) for i, (part, dim) in enumerate(DIMS.items())}
    present = torch.tensor([[i >> j & 1 for j in range(3)] for i in range(8)], dtype=torch.bool)
    out = fusion(encoded, present)
    _check_fused(out, fusion, present, name)
    _same(out, fusion(dict(reversed(encoded.items())), present), f"{name}: order of parts matters")
    for garbage in (1e6, float("nan")):
        spoilt = {part: _spoil(e, present[:, i], garbage) for i, (part, e) in enumerate(encoded.items())}
        _same(out, fusion(spoilt, present), f"{name}: an absent part full of {garbage} shows")
    for i, here in enumerate(present):
        row = {part: _row(e, i) for j, (part, e) in enumerate(encoded.items()) if here[j]}
        single = fusion(row, torch.ones(1, 3, dtype=torch.bool))
        message = f"{name}: {sorted(row)} alone differs from the same with the others absent"
        _close(single.vector[0], out.vector[i], message)
        _close(single.weights[0], out.weights[i], message)
    _check_dropout(fusion, encoded, name, seed=seed)
    assert build(fusion.spec).state_dict().keys() == fusion.state_dict().keys(), (
        f"{name}: build(spec) differs"
    )


def _check_encoded(out: Encoded, encoder: Encoder, name: str) -> None:
    assert out.tokens.shape[2] == encoder.dim == out.vector.shape[1], f"{name}: dim is not {encoder.dim}"
    assert out.mask.any(1).all(), f"{name}: a sample with tokens lost them all"
    assert (out.tokens[~out.mask] == 0).all(), f"{name}: masked tokens are not zero"
    _finite(out, name)


def _check_gradients(encoder: Encoder, x: Tensor, mask: Tensor, name: str) -> None:
    encoder.zero_grad()
    out = encoder(x, mask)
    loss = out.vector.sum() + out.tokens.sum()
    if loss.requires_grad:
        loss.backward()
    for path, parameter in encoder.named_parameters():
        fine = parameter.grad is None or parameter.grad.isfinite().all()
        assert fine, f"{name}: garbage reached the gradient of {path}"


def _check_batch_of_one(encoder: Encoder, x: Tensor, name: str) -> None:
    out = encoder.train()(x, _whole(x))
    encoder.eval()
    assert out.vector.shape == (1, encoder.dim), f"{name}: a batch of one gives {tuple(out.vector.shape)}"
    _finite(out, f"{name}: a batch of one")


def _check_fused(out: Fused, fusion: Fusion, present: Tensor, name: str) -> None:
    assert out.vector.shape == (len(present), fusion.dim), f"{name}: vector is {tuple(out.vector.shape)}"
    assert out.tokens.shape[:2] == out.mask.shape, f"{name}: mask does not fit tokens"
    assert out.vector.isfinite().all(), f"{name}: not finite, maybe where nothing is present"
    assert out.tokens.isfinite().all(), f"{name}: tokens are not finite"
    assert (out.weights >= 0).all(), f"{name}: negative weights"
    assert (out.weights[~present] == 0).all(), f"{name}: absent parts have weight"
    _close(out.weights.sum(1), present.any(1).float(), f"{name}: weights of present parts do not sum to 1")


def _check_dropout(fusion: Fusion, encoded: Mapping[str, Encoded], name: str, *, seed: int) -> None:
    import torch

    present = torch.ones(8, 3, dtype=torch.bool)
    plain, fusion.absent = fusion.absent, 0.8
    fusion.train()
    torch.manual_seed(seed)
    first = fusion(encoded, present).weights
    torch.manual_seed(seed)
    again = fusion(encoded, present).weights
    fusion.eval()
    assert torch.equal(first, again), f"{name}: modality dropout is not fixed by torch's seed"
    assert (first > 0).any(1).all(), f"{name}: modality dropout dropped all parts"
    assert (first == 0).any(), f"{name}: modality dropout drops nothing in training"
    full = fusion(encoded, present).weights
    fusion.absent = plain
    assert (full > 0).all(), f"{name}: modality dropout drops parts outside training"


def _sample(encoder: Encoder, t: int, draw: Callable[[int], Tensor] | None) -> Tensor:
    import torch

    if draw is not None:
        return draw(t)
    x = encoder.example(t)
    return torch.randn(x.shape) if x.is_floating_point() else x


def _whole(x: Tensor) -> Tensor:
    import torch

    return torch.ones(x.shape[:2], dtype=torch.bool)


def _garbage(x: Tensor) -> tuple[float, ...]:
    return (0.0, 1e6, float("nan")) if x.is_floating_point() else (0, 999_999, -7)


def _padded(samples: list[Tensor], garbage: float) -> tuple[Tensor, Tensor]:
    """Two samples in one batch, both longer by two steps of garbage than they need."""
    import torch

    t = max(x.shape[1] for x in samples) + 2
    batch = samples[0].new_full((len(samples), t, *samples[0].shape[2:]), garbage)
    mask = torch.zeros(len(samples), t, dtype=torch.bool)
    for i, x in enumerate(samples):
        batch[i, : x.shape[1]] = x[0]
        mask[i, : x.shape[1]] = True
    return batch, mask


def _encoded(b: int, t: int, dim: int) -> Encoded:
    import torch

    from polymodal.nn import Encoded

    mask = torch.arange(t) < torch.randint(1, t + 1, (b, 1))
    tokens = torch.randn(b, t, dim) * mask[..., None]
    return Encoded(tokens, mask)


def _row(encoded: Encoded, i: int) -> Encoded:
    return type(encoded)(encoded.tokens[i : i + 1], encoded.mask[i : i + 1], encoded.vector[i : i + 1])


def _spoil(encoded: Encoded, here: Tensor, garbage: float) -> Encoded:
    import torch

    tokens = torch.where(here[:, None, None], encoded.tokens, garbage)
    return type(encoded)(tokens, encoded.mask, torch.where(here[:, None], encoded.vector, garbage))


def _same(a: Fused, b: Fused, message: str) -> None:
    _close(a.vector, b.vector, message)
    _close(a.tokens, b.tokens, message)
    _close(a.weights, b.weights, message)


def _finite(out: Encoded, what: str) -> None:
    assert out.vector.isfinite().all(), f"{what}: vector is not finite"
    assert out.tokens.isfinite().all(), f"{what}: tokens are not finite"


def _close(a: Tensor, b: Tensor, message: str) -> None:
    assert a.shape == b.shape, f"{message}: shapes {tuple(a.shape)} and {tuple(b.shape)}"
    gap = float((a - b).detach().abs().max()) if a.numel() else 0.0
    assert gap <= TOLERANCE, f"{message}: by {gap:.1e}"
