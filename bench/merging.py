"""Merging against mergekit on checkpoints of 1.28 B bf16 parameters, and against copying the files.

Floors: linear 1 x mergekit's speed and at most 1.3 x the time of copying; ties, dare, slerp 8 x its
speed; peak memory at most 1/8 of its; anonymous memory at most 64 MB + 16 chunks; plan of an 8 B model at
most 1 s; the same numbers as mergekit's to 1e-6 in fp32.

    python bench/merging.py --mergekit PATH/TO/mergekit-yaml --scale 1

MERGEKIT and SCALE in the environment do the same; without mergekit ours alone is timed.

mergekit is run as a separate program in the environment of its own. Files lie in a temporary folder (15 GB at
scale 1) and are removed at the end. Both start a fresh process per merge; all read from a warm page cache.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import struct
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

METHODS = {"linear": 1, "task_arithmetic": 1, "slerp": 8, "ties_weight": 8, "dare_ties": 8}
CONFIG = {
    "architectures": ["LlamaForCausalLM"],
    "model_type": "llama",
    "hidden_size": 2048,
    "intermediate_size": 8192,
    "num_attention_heads": 32,
    "num_key_value_heads": 8,
    "num_hidden_layers": 20,
    "vocab_size": 32_000,
    "rms_norm_eps": 1e-5,
    "rope_theta": 500_000.0,
    "max_position_embeddings": 2048,
    "tie_word_embeddings": True,
    "torch_dtype": "bfloat16",
}
CHUNK = 8 << 20
SNAPSHOT = """
import json, os, resource, sys
from polymodal.nn.weights import Recipe, plan
from polymodal.runs.checkpoints import write_checkpoint
import torch
torch.set_num_threads(1)
target, donor, base, to, method = sys.argv[1:6]
most = [0]
def anonymous(*_):
    lines = open("/proc/self/status").read().splitlines()
    most[0] = max(most[0], *(int(line.split()[1]) for line in lines if line.startswith("RssAnon")))
anonymous()
start = most[0]
weights = (0.9,) if method != "slerp" else (0.5,)
write_checkpoint(plan(target, [donor], Recipe(method, weights), base=base), to, watch=anonymous)
anonymous()
print(json.dumps({"anonymous": most[0], "start": start}))
"""


def shapes(layers: int, config: Mapping[str, Any]) -> Iterator[tuple[str, tuple[int, ...]]]:
    """Tensors of a Llama in their order."""
    d, h = config["hidden_size"], config["intermediate_size"]
    kv = d // config["num_attention_heads"] * config["num_key_value_heads"]
    yield "model.embed_tokens.weight", (config["vocab_size"], d)
    for n in range(layers):
        at = f"model.layers.{n}."
        for part, rows in (("q", d), ("k", kv), ("v", kv), ("o", d)):
            yield f"{at}self_attn.{part}_proj.weight", (rows, d)
        yield f"{at}mlp.gate_proj.weight", (h, d)
        yield f"{at}mlp.up_proj.weight", (h, d)
        yield f"{at}mlp.down_proj.weight", (d, h)
        yield f"{at}input_layernorm.weight", (d,)
        yield f"{at}post_attention_layernorm.weight", (d,)
    yield "model.norm.weight", (d,)


def make(
    folder: Path, seed: int, scale: float, sparse: bool = False, config: Mapping[str, Any] = CONFIG
) -> int:
    """Writes three shards of random bf16 near a common base; gives the number of parameters."""
    folder.mkdir(parents=True)
    layers = max(1, round(config["num_hidden_layers"] * scale))
    told = dict(config) | {"num_hidden_layers": layers}
    if scale < 1:
        told["vocab_size"] = round(config["vocab_size"] * scale)
    (folder / "config.json").write_text(json.dumps(told))
    listed = list(shapes(layers, told))
    width = 4 if told["torch_dtype"] == "float32" else 2
    sizes = [width * int(np.prod(shape)) for _, shape in listed]
    cuts, table = np.minimum(np.cumsum(sizes) * 3 // sum(sizes), 2), {}
    for i in range(3):
        file = f"model-{i + 1:05d}-of-00003.safetensors"
        mine = [j for j in range(len(listed)) if cuts[j] == i]
        table |= {listed[j][0]: file for j in mine}
        shard(
            folder / file,
            [listed[j] for j in mine],
            [sizes[j] for j in mine],
            width,
            None if sparse else seed,
        )
    index = {"metadata": {"total_size": sum(sizes)}, "weight_map": table}
    (folder / "model.safetensors.index.json").write_text(json.dumps(index))
    return sum(sizes) // width


def shard(
    path: Path,
    tensors: Sequence[tuple[str, tuple[int, ...]]],
    sizes: Sequence[int],
    width: int,
    seed: int | None,
) -> None:
    """One file; without a seed there is a hole in place of the values."""
    ends = np.cumsum([0, *sizes]).tolist()
    head: dict[str, Any] = {"__metadata__": {"format": "pt"}}
    for (name, shape), start, stop in zip(tensors, ends, ends[1:], strict=False):
        head[name] = {
            "dtype": {2: "BF16", 4: "F32"}[width],
            "shape": list(shape),
            "data_offsets": [start, stop],
        }
    text = json.dumps(head).encode()
    text += b" " * (-len(text) % 8)
    with path.open("wb") as stream:
        stream.write(struct.pack("<Q", len(text)) + text)
        if seed is None:
            stream.truncate(8 + len(text) + ends[-1])
            return
        tile = values(seed, width)
        for size in sizes:
            stream.write(np.resize(tile, size // width).tobytes())


def values(seed: int, width: int) -> np.ndarray[Any, Any]:
    """A million numbers of about 0.02, for every seed but 0 a tenth away from those of 0: siblings."""
    common, own = (np.random.default_rng(s).standard_normal(1 << 20, np.float32) for s in (0, 1 + seed))
    bits = ((common + (0.1 * own if seed else 0)) * np.float32(0.02)).astype(np.float32).view("<u4")
    return bits if width == 4 else (bits >> 16).astype("<u2")


LAUNCH = """
import json, os, sys
child = os.posix_spawnp(sys.argv[1], sys.argv[1:], os.environ)
_, status, used = os.wait4(child, 0)
print(json.dumps([used.ru_utime + used.ru_stime, used.ru_maxrss / 1024]))
sys.exit(os.waitstatus_to_exitcode(status))
"""


def timed(words: Sequence[str], to: Path) -> tuple[dict[str, float], str]:
    """Runs a program to the end and to the disk: seconds, CPU seconds, peak memory in MB.

    A small process launches it: a program's peak counts what the one that started it held.
    """
    shutil.rmtree(to, ignore_errors=True)
    start = time.perf_counter()
    told = [sys.executable, "-S", "-c", LAUNCH, *words]
    done = subprocess.run(told, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False)
    flush(to)
    if done.returncode:
        sys.exit(done.stdout)
    text, _, last = done.stdout.rstrip().rpartition("\n")
    cpu, mb = json.loads(last)
    return {"s": time.perf_counter() - start, "cpu": cpu, "mb": mb}, text


def flush(folder: Path) -> None:
    """Waits until a folder's files are on the disk."""
    for path in folder.rglob("*"):
        if path.is_file():
            handle = os.open(path, os.O_RDONLY)
            os.fsync(handle)
            os.close(handle)


def copied(source: Path, to: Path) -> float:
    """Seconds to copy a folder to the disk."""
    shutil.rmtree(to, ignore_errors=True)
    start = time.perf_counter()
    shutil.copytree(source, to)
    flush(to)
    return time.perf_counter() - start


def peer_recipe(method: str, root: Path, dtype: str) -> str:
    """The same merge in mergekit's words (YAML reads JSON); the embedding is kept as ours keeps it."""
    base, target, donor = (str(root / name) for name in ("base", "target", "donor"))
    told: dict[str, Any] = {"merge_method": {"ties_weight": "ties"}.get(method, method), "dtype": dtype}
    if method == "slerp":
        keep = [{"filter": "embed_tokens", "value": 0.0}, {"value": 0.5}]
        told |= {
            "base_model": target,
            "models": [{"model": target}, {"model": donor}],
            "parameters": {"t": keep},
        }
        return json.dumps(told)
    models = []
    for model, weight, kept in ((target, 0.9, 1.0), (donor, 0.1, 0.0)):
        words: dict[str, Any] = {"weight": [{"filter": "embed_tokens", "value": kept}, {"value": weight}]}
        if method in ("ties_weight", "dare_ties"):
            words["density"] = 0.2
        models.append({"model": model, "parameters": words})
    if method != "linear":
        told["base_model"] = base
    return json.dumps(told | {"models": models})


def ours(root: Path, method: str) -> tuple[dict[str, float], str]:
    """One merge by polymodal in a process of its own."""
    places = [str(root / name) for name in ("target", "donor", "base", "ours")]
    return timed([sys.executable, "-c", SNAPSHOT, *places, method], root / "ours")


def theirs(root: Path, method: str, program: str, dtype: str = "bfloat16") -> dict[str, float]:
    """One merge by mergekit."""
    recipe = root / f"{method}.yaml"
    recipe.write_text(peer_recipe(method, root, dtype))
    words = [program, str(recipe), str(root / "theirs"), "--lazy-unpickle", "--no-copy-tokenizer"]
    return timed(words, root / "theirs")[0]


def parity(root: Path, program: str) -> int:
    """Small fp32 models through both programs; gives how many methods differ by more than 1e-6."""
    from polymodal.nn.weights import read_checkpoint

    tiny = CONFIG | {"hidden_size": 64, "intermediate_size": 256, "num_attention_heads": 4, "vocab_size": 64}
    for seed, name in enumerate(("base", "target", "donor")):
        make(root / name, seed, 1.0, config=tiny | {"num_hidden_layers": 3, "torch_dtype": "float32"})
    differing = 0
    for method in METHODS:
        if method.startswith("dare"):
            continue  # random on both sides: held in distribution by the tests
        ours(root, method)
        theirs(root, method, program, "float32")
        a, b = (read_checkpoint(f"local:{root / name}") for name in ("ours", "theirs"))
        names = [name for name in a.entries if "embed_tokens" not in name]
        pairs = ((np.frombuffer(a.raw(name), "<f4"), np.frombuffer(b.raw(name), "<f4")) for name in names)
        worst = max(float(np.abs(x - y).max()) for x, y in pairs)
        print(f"{method:<16} largest difference from mergekit in fp32: {worst:.1e} (at most 1e-6)")
        differing += worst > 1e-6
    return differing


def headers(root: Path) -> float:
    """Seconds to plan a merge of two 8 B models with a base, from headers alone (files with holes)."""
    from polymodal.nn.weights import Recipe, plan

    config = dict(CONFIG) | {"hidden_size": 4096, "intermediate_size": 14_336, "num_hidden_layers": 32}
    for i, name in enumerate(("big_target", "big_donor", "big_base")):
        make(root / name, i, 1.0, True, dict(config) | {"id": i})
    start = time.perf_counter()
    made = plan(root / "big_target", [root / "big_donor"], Recipe("ties_weight"), base=root / "big_base")
    assert made.digest
    took = time.perf_counter() - start
    print(f"plan of {len(made.target.entries)} tensors, 8.0 B: {took:.2f} s (at most 1)")
    return took


def main() -> int:
    """Interleaved: copy, ours, theirs, method by method; 1 where a floor is missed."""
    words = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    words.add_argument("--mergekit", default=os.environ.get("MERGEKIT") or shutil.which("mergekit-yaml"))
    words.add_argument("--scale", type=float, default=float(os.environ.get("SCALE", "0.1")))
    words.add_argument("--methods", default=",".join(METHODS))
    words.add_argument("--where", default=None, help="a folder on the disk to be measured")
    given = words.parse_args()
    missed = 0
    if not given.mergekit:
        print("mergekit is not here: name its program by MERGEKIT=…/mergekit-yaml; ours alone")
    with tempfile.TemporaryDirectory(dir=given.where) as folder:
        root = Path(folder)
        missed += headers(root) > 1
        if given.mergekit:
            (root / "tiny").mkdir()
            missed += parity(root / "tiny", given.mergekit)
        for seed, name in enumerate(("base", "target", "donor")):
            n = make(root / name, seed, given.scale)
        flush(root)
        print(f"{n / 1e9:.2f} B parameters in bf16, 3 shards, load average {os.getloadavg()[0]:.1f}")
        for method in given.methods.split(","):
            missed += compared(root, method, given.mergekit)
    return int(missed > 0)


def compared(root: Path, method: str, program: str | None) -> int:
    """One method: prints, and counts the floors missed."""
    copy = copied(root / "target", root / "copy")
    shutil.rmtree(root / "copy")
    mine, text = ours(root, method)
    found = json.loads(text.splitlines()[-1])
    anonymous, most = found["anonymous"] / 1024, 64 + 16 * CHUNK / (1 << 20)
    grown = anonymous - found["start"] / 1024
    print(
        f"{method:<16} ours {mine['s']:6.1f} s ({mine['cpu']:5.1f} s CPU) {mine['mb']:5.0f} MB peak, "
        f"anonymous {anonymous:.0f} MB (at most {most:.0f}; {grown:.0f} past imports); copy {copy:5.1f} s, "
        f"ours/copy {mine['s'] / copy:4.2f}{' (at most 1.3)' if method == 'linear' else ''}"
    )
    missed = int(anonymous > most) + int(method == "linear" and mine["s"] > 1.3 * copy)
    if program:
        other, floor = theirs(root, method, program), METHODS.get(method, 1)
        speed, memory = other["s"] / mine["s"], other["mb"] / mine["mb"]
        print(
            f"{'':<16} mergekit {other['s']:6.1f} s ({other['cpu']:5.1f} s CPU) {other['mb']:5.0f} MB peak: "
            f"speed {speed:4.1f} x (floor {floor}), CPU {other['cpu'] / mine['cpu']:4.1f} x, "
            f"memory {memory:4.1f} x less (floor 8)"
        )
        missed += (speed < floor) + (memory < 8)
        shutil.rmtree(root / "theirs")
    shutil.rmtree(root / "ours")
    return missed


if __name__ == "__main__":
    sys.exit(main())
