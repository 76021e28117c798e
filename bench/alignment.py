"""Dual encoders at their users' sizes: parity with open_clip's losses, peak memory, dense maps against crops.

Run from the project's root: `python bench/alignment.py [BATCH] [OPEN_CLIP_LOSS]`. It ends with 1 where a
floor is missed. open_clip brings torchvision, which this environment must not hold: give the path of its
`open_clip/loss.py` from an unpacked wheel (`pip download --no-deps open_clip_torch`), which needs torch
alone; without it the plain loss stands in, written here as open_clip's is (two products, two softmaxes).
"""

import importlib.util
import resource
import subprocess
import sys
import time
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

from polymodal.nn.dual import Dual, info_nce, regions, sigmoid_loss, streamed
from polymodal.nn.pocket import Tokens

BATCH, DIM, SCALE = 8192, 512, 100.0
LEAST_MEMORY, MOST_TIME, MOST_GRADIENT, LEAST_RATE = 0.25, 1.3, 1e-5, 100.0
Loss = Callable[[Tensor, Tensor, Tensor], Tensor]


def peak() -> float:
    """Most memory of this process so far, in MB."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e3


def plain(a: Tensor, b: Tensor, scale: Tensor) -> Tensor:
    """Both directions from products of their own."""
    own = torch.arange(len(a))
    logits = (scale * a @ b.T, scale * b @ a.T)
    return (functional.cross_entropy(logits[0], own) + functional.cross_entropy(logits[1], own)) / 2


def theirs(path: str) -> tuple[Loss, Any]:
    """open_clip's own two losses from their one file."""
    spec = importlib.util.spec_from_file_location("open_clip_loss", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    clip = module.ClipLoss()
    return lambda a, b, scale: clip(a, b, scale), module.SigLipLoss()


def inputs(n: int, d: int, kind: torch.dtype = torch.float32) -> list[Tensor]:
    """Two blocks of unit vectors, matched somewhat, and a scale."""
    torch.manual_seed(0)
    a = functional.normalize(torch.randn(n, d, dtype=kind), dim=-1)
    b = functional.normalize(a + torch.randn(n, d, dtype=kind) * 4 / d**0.5, dim=-1)
    return [x.requires_grad_() for x in (a, b, torch.tensor(SCALE, dtype=kind))]


def parity(clip: Loss, sigmoid: Any) -> bool:
    """Value and gradient of both losses against open_clip's, in 64 bits."""
    leaves = inputs(256, 64, torch.float64)
    pairs: list[tuple[str, Loss, Loss]] = [("InfoNCE", info_nce, clip), ("streamed", streamed, clip)]
    if sigmoid is not None:
        bias = torch.tensor(-10.0, dtype=torch.float64)
        ours: Loss = lambda a, b, s: sigmoid_loss(a, b, s, bias)  # noqa: E731
        pairs.append(("sigmoid", ours, lambda a, b, s: sigmoid(a, b, s, bias)))
    good = True
    for name, mine, other in pairs:
        values = [loss(*leaves) for loss in (mine, other)]
        slopes = [torch.autograd.grad(value, leaves) for value in values]
        far = max(float((x - y).abs().max()) for x, y in zip(*slopes, strict=True))
        apart = abs(values[0].item() - values[1].item())
        good &= max(apart, far) < 1e-6
        print(
            f"{name}: value {values[0].item():.9f}, off by {apart:.1e}, gradients by {far:.1e} (floor 1e-6)"
        )
    return good


def measured(which: str, batch: int, path: str) -> None:
    """One loss forward and back in a process of its own; prints seconds and MB above the start."""
    loss = streamed if which == "streamed" else theirs(path)[0] if path else plain
    leaves = inputs(batch, DIM)
    loss(*(x[:64] if x.ndim else x for x in leaves)).backward()
    before, start = peak(), time.process_time()
    loss(*leaves).backward()
    print(time.process_time() - start, peak() - before, *leaves[0].grad[0, :4].tolist())


def at_scale(batch: int, path: str) -> bool:
    """Peak memory and time of the streamed loss against the plain one."""
    found = {}
    for which in ("plain", "streamed"):
        words = [sys.executable, __file__, "--one", which, str(batch), path]
        done = subprocess.run(words, capture_output=True, text=True, check=True)
        found[which] = [float(x) for x in done.stdout.split()]
    (time_a, mb_a, *grad_a), (time_b, mb_b, *grad_b) = found["plain"], found["streamed"]
    far = max(abs(x - y) for x, y in zip(grad_a, grad_b, strict=True))
    print(
        f"batch {batch:,}, d {DIM}: plain {mb_a:,.0f} MB and {time_a:.1f} s of CPU, streamed {mb_b:,.0f} MB "
        f"and {time_b:.1f} s ({mb_b / mb_a:.2f} of the memory, {time_b / time_a:.2f} of the time; floors "
        f"{LEAST_MEMORY} and {MOST_TIME}); gradients off by {far:.1e} (floor {MOST_GRADIENT})"
    )
    return mb_b <= LEAST_MEMORY * mb_a and time_b <= MOST_TIME * time_a and far <= MOST_GRADIENT


@torch.no_grad()
def seen() -> bool:
    """Pictures a second, and one dense map a picture against a crop a box."""
    dual = Dual.pocket(Tokens.trained(["a small red star"])).eval()
    images = [torch.randint(0, 256, (64, 64, 3), dtype=torch.uint8).numpy() for _ in range(256)]
    pixels = dual.prepare(images)
    dual.image(pixels[:8])
    start = time.process_time()
    dual.image(dual.prepare(images))
    rate = len(images) / (time.process_time() - start)
    print(f"zero-shot: {rate:.0f} pictures a second of CPU on {torch.get_num_threads()} threads")
    good = rate >= LEAST_RATE
    for n in (4, 8, 16):
        some = pixels[:32]
        boxes = torch.tensor([[0.1, 0.2, 0.5, 0.7]]).expand(n * len(some), 4)
        index = torch.arange(len(some)).repeat_interleave(n)
        start = time.process_time()
        regions(dual.dense(some), boxes, index)
        once = time.process_time() - start
        start = time.process_time()
        dual.image(some.repeat_interleave(n, 0))  # the crops already made: only their encoding is counted
        crops = time.process_time() - start
        print(f"{n} boxes a picture: dense {crops / once:.1f} times as fast as crops (floor {n / 2:.0f})")
        good &= crops / once >= n / 2
    return good


if __name__ == "__main__":
    torch.set_num_threads(1)
    if sys.argv[1:2] == ["--one"]:
        measured(sys.argv[2], int(sys.argv[3]), sys.argv[4] if len(sys.argv) > 4 else "")
        sys.exit()
    batch = int(sys.argv[1]) if len(sys.argv) > 1 else BATCH
    path = sys.argv[2] if len(sys.argv) > 2 else ""
    clip, sigmoid = theirs(path) if path else (plain, None)
    done = [parity(clip, sigmoid), at_scale(batch, path), seen()]
    sys.exit(not all(done))
