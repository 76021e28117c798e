"""Modules of a decoder knocked out for a while, what that costs, or their inputs watched."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, Literal

import numpy as np
import torch
from jaxtyping import Bool, Float
from numpy.typing import NDArray
from torch import Tensor, nn

Mode = Literal["mask", "uniform", "revert"]
MODULES = ("self_attn", "mlp")
MODES: tuple[Mode, ...] = ("mask", "uniform", "revert")
SIGHT = ("vision", "visual", "image_encoder", "audio")  # towers have blocks too, and are no decoders


def blocks(net: nn.Module) -> list[nn.Module]:
    """The decoder's layers of a language or vision-language model, ours or transformers'.

    Raises:
        ValueError: no list of modules with `self_attn` and `mlp` outside a tower.
    """
    found = [
        list(module)
        for name, module in net.named_modules()
        if isinstance(module, nn.ModuleList)
        and not any(word in name for word in SIGHT)
        and len(module)
        and all(any(hasattr(layer, part) for part in MODULES) for layer in module)
    ]
    if not found:
        raise ValueError(f"{type(net).__name__} has no layers with {' and '.join(MODULES)} to knock out")
    return max(found, key=len)


@contextmanager
def knocked(
    net: nn.Module, layer: int, module: str, mode: str, base: nn.Module | None = None
) -> Iterator[None]:
    """The net with one module knocked out, and as it was afterwards, whatever happens inside.

    Args:
        net: changed in place, inside only.
        layer: of its decoder.
        module: `self_attn` or `mlp`.
        mode: `mask` lets the module add nothing; `uniform` puts 1 / (number of rows) in the place of every
            matrix entry; `revert` puts the base's tensors back.
        base: the common ancestor, for `revert`.

    Raises:
        ValueError: a mode or module that is not known, or `revert` without a base.
    """
    if module not in MODULES or mode not in MODES:
        raise ValueError(f"{module}/{mode}: modules are {', '.join(MODULES)}, modes {', '.join(MODES)}")
    part = getattr(blocks(net)[layer], module)
    if mode == "mask":
        hook = part.register_forward_hook(_nothing)
        try:
            yield
        finally:
            hook.remove()
        return
    if mode == "revert" and base is None:
        raise ValueError("revert needs the base: give -o base=")
    with torch.no_grad():
        kept = {name: x.detach().clone() for name, x in part.named_parameters()}
        try:
            if mode == "revert":
                assert base is not None
                old = dict(getattr(blocks(base)[layer], module).named_parameters())
                for name, x in part.named_parameters():
                    x.copy_(old[name])
            else:
                for x in part.parameters():
                    if x.ndim == 2:
                        x.fill_(1 / len(x))
            yield
        finally:
            for name, x in part.named_parameters():
                x.copy_(kept[name])


def _nothing(module: nn.Module, given: Any, made: Any) -> Any:
    """A module's output with the stream's part as zeros; attention of transformers gives a tuple."""
    if isinstance(made, tuple):
        return (torch.zeros_like(made[0]), *made[1:])
    return torch.zeros_like(made)


def attribution(
    net: nn.Module,
    score: Callable[[], Mapping[str, NDArray[np.float64]]],
    *,
    modes: Sequence[Mode] = MODES,
    base: nn.Module | None = None,
) -> dict[tuple[Mode, str, str], Float[np.ndarray, "l i"]]:
    """Loss of each item's score under each knock-out, by mode, module and set of items, "layers items".

    Args:
        net: the model, as it is when merged: knock-outs act on final weights.
        score: the items' scores by name of their set, of the net as it is when called.
        modes: knock-outs.
        base: for `revert`.
    """
    whole = score()
    out: dict[tuple[Mode, str, str], Float[np.ndarray, "l i"]] = {}
    for mode in modes:
        for module in MODULES:
            lost: dict[str, list[NDArray[np.float64]]] = {}
            for layer in range(len(blocks(net))):
                with knocked(net, layer, module, mode, base):
                    for name, values in score().items():
                        lost.setdefault(name, []).append(whole[name] - values)
            out |= {(mode, module, name): np.stack(drops) for name, drops in lost.items()}
    return out


@contextmanager
def watched(net: nn.Module, real: Bool[Tensor, "b t"]) -> Iterator[dict[str, list[Tensor]]]:
    """Inputs "n d" of every linear module of the decoder while the net runs, by its name within `blocks`.

    Args:
        net: runs inside only, on batches of the shape of `real`.
        real: the positions that are kept.
    """
    seen: dict[str, list[Tensor]] = {}
    hooks = []

    def keep(name: str) -> Callable[[nn.Module, Any], None]:
        def hook(module: nn.Module, given: Any) -> None:
            seen.setdefault(name, []).append(given[0].detach()[real])

        return hook

    for layer, block in enumerate(blocks(net)):
        for name, module in block.named_modules():
            if isinstance(module, nn.Linear):
                hooks.append(module.register_forward_pre_hook(keep(f"{layer}.{name}")))
    try:
        yield seen
    finally:
        for hook in hooks:
            hook.remove()
