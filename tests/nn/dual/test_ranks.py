"""One process and two (gloo) give the same losses and gradients, whoever holds which rows."""

from pathlib import Path

import pytest
import torch
from torch import Tensor, distributed, multiprocessing
from torch.nn.functional import normalize

from polymodal.nn.dual import (
    apart_loss,
    hard_loss,
    info_nce,
    margin,
    margin_loss,
    ragged,
    regional_loss,
    sigmoid_loss,
    sigmoid_start,
    streamed,
)
from polymodal.nn.dual.ranks import gathered

SIZES = {"even": (6, 6), "ragged": (9, 3), "empty": (12, 0)}


def losses(rows: list[Tensor], scale: Tensor, counts: Tensor) -> list[Tensor]:
    a, b, flat = rows
    negatives, mask = ragged(flat, counts)
    right, wrong = (a * b).sum(-1), torch.einsum("rd,rmd->rm", a, negatives)
    return [
        info_nce(a, b, scale),
        streamed(a, b, scale, 4),
        sigmoid_loss(a, b, scale, -scale),
        regional_loss(a, b, scale, 0.3),
        hard_loss(a, b, negatives, mask, scale),
        sigmoid_loss(a, b, scale, sigmoid_start(a, b, scale)),
        apart_loss(b, scale, nearest=3),
        margin_loss(right, wrong, mask, margin(right, wrong, mask)),
    ]


def made() -> tuple[list[Tensor], Tensor, Tensor]:
    generator = torch.Generator().manual_seed(0)
    counts = torch.tensor([2, 0, 1, 3, 2, 1, 0, 2, 1, 1, 2, 3])
    rows = [torch.randn(n, 5, dtype=torch.float64, generator=generator) for n in (12, 12, int(counts.sum()))]
    return [normalize(x, dim=-1) for x in rows], torch.tensor(4.0, dtype=torch.float64), counts


def found(rows: list[Tensor], scale: Tensor, counts: Tensor) -> list[list[Tensor]]:
    """Value, gradients of the rows, gradient of the scale, a loss."""
    leaves = [x.clone().requires_grad_() for x in (*rows, scale)]
    out = []
    for loss in losses(leaves[:3], leaves[3], counts):
        gradients = torch.autograd.grad(loss, leaves, allow_unused=True, retain_graph=True)
        filled = [torch.zeros_like(x) if g is None else g for x, g in zip(leaves, gradients, strict=True)]
        out.append([loss.detach(), *filled])
    return out


def worker(rank: int, home: str) -> None:
    torch.set_num_threads(1)
    distributed.init_process_group("gloo", init_method=f"file://{home}/meet", rank=rank, world_size=2)
    rows, scale, counts = made()
    for name, sizes in SIZES.items():
        first, last = sum(sizes[:rank]), sum(sizes[: rank + 1])
        before, within = int(counts[:first].sum()), int(counts[first:last].sum())
        mine = [rows[0][first:last], rows[1][first:last], rows[2][before : before + within]]
        torch.save(found(mine, scale, counts[first:last]), f"{home}/{name}-{rank}.pt")
    distributed.destroy_process_group()


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What two processes found."""
    place = tmp_path_factory.mktemp("ranks")
    multiprocessing.spawn(worker, (str(place),), nprocs=2)
    return place


@pytest.mark.parametrize("name", SIZES)
def test_two_processes_are_one(home: Path, name: str) -> None:
    ranks = [torch.load(home / f"{name}-{rank}.pt", weights_only=True) for rank in (0, 1)]
    for one, a, b in zip(found(*made()), *ranks, strict=True):
        torch.testing.assert_close((a[0] + b[0]) / 2, one[0], atol=1e-5, rtol=0)
        for i in (1, 2, 3):  # rows lie on one rank each; training averages the ranks' gradients
            torch.testing.assert_close(torch.cat([a[i], b[i]]) / 2, one[i], atol=1e-5, rtol=0)
        torch.testing.assert_close((a[4] + b[4]) / 2, one[4], atol=1e-5, rtol=0)


def test_one_process_gathers_nothing() -> None:
    x = torch.randn(3, 2)
    (same,), start, total = gathered(x)
    assert same is x
    assert (start, total) == (0, 3)
