"""RoIAlign: constants, planes, whole maps, sub-pixel shifts, and a slow reference written from the paper."""

from math import ceil, floor

import pytest
import torch
from torch import Tensor

from polymodal.nn.dual import clipped, corners, faults, normalised, regions, roi_align

ZERO = torch.zeros(1, dtype=torch.long)


def plane(h: int, w: int, a: float = 2.0, b: float = -3.0, c: float = 5.0) -> Tensor:
    """a x + b y + c at the centres of cells, with x and y in cells."""
    x, y = torch.arange(w, dtype=torch.float64) + 0.5, torch.arange(h, dtype=torch.float64) + 0.5
    return (a * x[None, :] + b * y[:, None] + c)[None, ..., None]


def slow(grid: Tensor, box: list[float]) -> float:
    """One box, sample by sample, bilinear, edges clamped."""
    h, w = grid.shape
    x1, y1, x2, y2 = box[0] * w, box[1] * h, box[2] * w, box[3] * h
    nx, ny = max(1, ceil(x2 - x1)), max(1, ceil(y2 - y1))
    total = 0.0
    for i in range(ny):
        for j in range(nx):
            y = min(max(y1 + (i + 0.5) * (y2 - y1) / ny - 0.5, 0), h - 1)
            x = min(max(x1 + (j + 0.5) * (x2 - x1) / nx - 0.5, 0), w - 1)
            top, left = min(floor(y), h - 2), min(floor(x), w - 2)
            dy, dx = y - top, x - left
            total += (1 - dy) * ((1 - dx) * grid[top, left] + dx * grid[top, left + 1])
            total += dy * ((1 - dx) * grid[top + 1, left] + dx * grid[top + 1, left + 1])
    return float(total / (nx * ny))


def test_against_a_slow_reference_over_several_maps() -> None:
    maps = torch.randn(3, 5, 7, 2, dtype=torch.float64)
    boxes = torch.rand(40, 4, dtype=torch.float64)
    boxes = torch.cat([boxes[:, :2].minimum(boxes[:, 2:]), boxes[:, :2].maximum(boxes[:, 2:])], 1)
    index = torch.randint(0, 3, (40,))
    found = roi_align(maps, boxes, index)
    for k in range(40):
        expected = [slow(maps[index[k], ..., c], boxes[k].tolist()) for c in range(2)]
        assert found[k].tolist() == pytest.approx(expected), k


def test_constant_map_gives_the_constant() -> None:
    box = torch.tensor([[0.1, 0.2, 0.15, 0.9], [0.0, 0.0, 1.0, 1.0]])
    assert torch.allclose(roi_align(torch.full((1, 8, 8, 3), 4.0), box, ZERO.expand(2)), torch.tensor(4.0))


def test_plane_gives_its_value_at_the_centre_of_a_box_inside() -> None:
    box = torch.tensor([[0.13, 0.2, 0.55, 0.61]], dtype=torch.float64)
    x, y = 10 * (0.13 + 0.55) / 2, 8 * (0.2 + 0.61) / 2
    assert float(roi_align(plane(8, 10), box, ZERO)) == pytest.approx(2 * x - 3 * y + 5)


def test_whole_box_is_the_mean_of_the_map() -> None:
    maps = torch.randn(2, 6, 9, 4)
    box = torch.tensor([[0.0, 0.0, 1.0, 1.0]])
    for i in range(2):
        torch.testing.assert_close(roi_align(maps, box, ZERO + i)[0], maps[i].mean((0, 1)))


def test_a_shift_below_a_cell_moves_the_value() -> None:
    box = torch.tensor([[0.3, 0.3, 0.5, 0.5]], dtype=torch.float64)
    moved = box + torch.tensor([0.01, 0, 0.01, 0], dtype=torch.float64)
    maps = plane(10, 10)
    step = roi_align(maps, moved, ZERO) - roi_align(maps, box, ZERO)
    assert float(step) == pytest.approx(2 * 0.1)


def test_regions_have_unit_length_and_gradients_reach_the_map() -> None:
    maps = torch.randn(2, 4, 4, 8, requires_grad=True)
    out = regions(maps, torch.tensor([[0.0, 0.0, 0.5, 0.5]]), ZERO + 1)
    torch.testing.assert_close(out.norm(dim=-1), torch.ones(1))
    out.sum().backward()
    assert maps.grad is not None
    assert not maps.grad[0].any()
    assert maps.grad[1, :2, :2].any()
    assert regions(maps, torch.zeros(0, 4), ZERO[:0]).shape == (0, 8)


def test_boxes_change_their_form() -> None:
    box = corners(torch.tensor([[10.0, 20.0, 30.0, 40.0]]))
    assert box.tolist() == [[10, 20, 40, 60]]
    torch.testing.assert_close(normalised(box, height=80, width=100), torch.tensor([[0.1, 0.25, 0.4, 0.75]]))


def test_faulty_boxes_say_what_is_wrong_and_the_others_are_clipped() -> None:
    boxes = torch.tensor(
        [
            [0.1, 0.1, 0.5, 0.5],
            [-0.2, 0.0, 0.6, 1.0],
            [-0.6, 0.0, 0.2, 1.0],
            [10.0, 10.0, 50.0, 50.0],
            [0.5, 0.1, 0.1, 0.5],
            [0.5, 0.5, 0.1, 0.1],
            [0.2, 0.2, 0.2, 0.9],
            [float("nan"), 0.0, 1.0, 1.0],
        ]
    )
    said = faults(boxes)
    words = ["", "", "outside", "in pixels", "inverted", "inverted", "no area", "not a number"]
    assert all(word in fault and bool(word) == bool(fault) for word, fault in zip(words, said, strict=True))
    kept, good = clipped(boxes)
    assert good.tolist() == [True, True] + [False] * 6
    torch.testing.assert_close(kept, torch.tensor([[0.1, 0.1, 0.5, 0.5], [0.0, 0.0, 0.6, 1.0]]))
