"""Gradient cache: the gradient of a whole batch in the memory of one chunk (2101.06983)."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

import torch
from jaxtyping import Shaped
from torch import Tensor

Embed = Callable[..., Tensor]
State = tuple[Tensor, list[Tensor]]


def cached(
    loss: Callable[..., Tensor],
    sides: Sequence[tuple[Embed, Sequence[Shaped[Tensor, "..."]]]],
    chunk: int = 64,
) -> Tensor:
    """Backward of `loss(*embeddings)` as if all sides had been embedded at once; gives the loss, detached.

    A side is a function and the tensors it reads, whose rows are embedded `chunk` at a time: first without
    gradient, with the state of the random generators kept; then, once the loss has said what it wants
    changed in each embedding, again with gradient, from that state, so that dropout falls alike.
    The loss's own parameters (its scale) get their gradients too.

    Raises:
        ValueError: a side of no tensors, or tensors of different lengths.
    """
    embedded, states = [], []
    for embed, inputs in sides:
        if len({len(x) for x in inputs}) != 1:
            raise ValueError(f"a side's tensors need one length, given {[len(x) for x in inputs]}")
        rows, kept = [], []
        with torch.no_grad():
            for parts in _chunks(inputs, chunk):
                kept.append(_state(parts))
                rows.append(embed(*parts))
        embedded.append(torch.cat(rows).requires_grad_())
        states.append(kept)
    value = loss(*embedded)
    torch.autograd.backward(value)
    for (embed, inputs), leaf, kept in zip(sides, embedded, states, strict=True):
        wanted = torch.zeros_like(leaf) if leaf.grad is None else leaf.grad
        for parts, wish, state in zip(_chunks(inputs, chunk), torch.split(wanted, chunk), kept, strict=True):
            with _restored(state, parts):
                torch.autograd.backward(embed(*parts), wish)
    return value.detach()


def _chunks(inputs: Sequence[Tensor], chunk: int) -> list[tuple[Tensor, ...]]:
    return list(zip(*(torch.split(x, chunk) for x in inputs), strict=True))


def _devices(parts: Sequence[Tensor]) -> list[int]:
    return sorted({x.get_device() for x in parts if x.is_cuda})


def _state(parts: Sequence[Tensor]) -> State:
    return torch.get_rng_state(), [torch.cuda.get_rng_state(i) for i in _devices(parts)]


@contextmanager
def _restored(state: State, parts: Sequence[Tensor]) -> Iterator[None]:
    """The generators as they were; afterwards as they are now."""
    devices = _devices(parts)
    with torch.random.fork_rng(devices):
        torch.set_rng_state(state[0])
        for device, kept in zip(devices, state[1], strict=True):
            torch.cuda.set_rng_state(kept, device)
        yield
