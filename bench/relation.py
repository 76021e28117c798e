"""Two questions about 2,000 posts beside Inspect AI; near-duplicates of 100,000 texts beside datasketch.

python bench/relation.py [POSTS] [TEXTS] prints posts a second and seconds of both sides, in one run, and
the ratios. Each side runs in a process of its own with one thread, in turn; the fastest counts. Ours draws
the posts, builds the prompts, asks the simulated observer, parses and keeps rows; Inspect sends the same
prompts with their pictures to its mock model and scores the replies. Ours again on 10,000 posts shows memory.
"""

import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

POSTS, TEXTS, MANY = 2_000, 100_000, 10_000


def relation(n: int) -> int:
    """Ours: the rows of two questions about n posts."""
    from polymodal.runs import Run
    from polymodal.systems.image_text_relation import recipe

    config = recipe.Config(n=n, languages=("lv",), target=("scripted:first", "scripted:relation"), arm="chat")
    with tempfile.TemporaryDirectory() as folder, Run.create("bench", {}, root=Path(folder)) as run:
        posts, _ = recipe.corpus(config)
        return len(recipe.asked(config, run, posts, config.target[1:], "bench"))


def inspected(n: int) -> int:
    """Inspect's: the same prompts to its mock model, two samples a post."""
    from inspect_ai import Task, eval
    from inspect_ai.dataset import MemoryDataset, Sample
    from inspect_ai.model import (
        ChatMessageUser,
        ContentImage,
        ContentText,
        ModelOutput,
        ModelUsage,
        get_model,
    )
    from inspect_ai.scorer import match

    from polymodal.chat.inspected import data_url
    from polymodal.media import Text
    from polymodal.systems.image_text_relation import recipe

    def said(*_: object) -> ModelOutput:
        output = ModelOutput.from_content("mockllm/model", "yes")
        output.usage = ModelUsage(input_tokens=9, output_tokens=1, total_tokens=10)  # or it loads a tokeniser
        return output

    samples = []
    for row in recipe.inspection(recipe.Config(n=n, languages=("lv",))):
        parts = row["messages"][-1].parts
        content = [
            ContentText(text=part.read())
            if isinstance(part, Text)
            else ContentImage(image=data_url("image/png", part.encoded()))
            for part in parts
        ]
        samples.append(Sample(input=[ChatMessageUser(content=content)], target=row["target"], id=row["id"]))
    task = Task(MemoryDataset(samples), scorer=match())
    quick = {"max_samples": 200, "max_connections": 200, "log_realtime": False}
    model = get_model("mockllm/model", custom_outputs=said)
    with tempfile.TemporaryDirectory() as folder:
        (log,) = eval(task, model=model, display="none", log_dir=folder, **quick)
    assert log.status == "success", log.error
    return len(samples)


def texts(n: int) -> list[str]:
    """Posts of about a tweet's length; every hundredth is a near copy of the one before."""
    import random

    rng = random.Random(0)
    words = ["".join(rng.choices("abcdefghijklmnoprstuvz", k=rng.randint(2, 9))) for _ in range(5000)]
    out: list[str] = []
    for i in range(n):
        out.append(out[-1] + "!" if i % 100 == 99 else " ".join(rng.choices(words, k=rng.randint(8, 20))))
    return out


def near(n: int) -> int:
    """Ours: 128 min-hashes in 32 bands, candidates compared exactly."""
    from polymodal.media.likeness import near_texts

    return len(near_texts(texts(n)))


def sketched(n: int) -> int:
    """datasketch: as many hashes and bands over the same shingles, candidates compared exactly."""
    from datasketch import MinHash, MinHashLSH

    given = texts(n)
    index, shingles, found = MinHashLSH(num_perm=128, params=(32, 4)), [], 0
    for i, text in enumerate(given):
        mine = {text[k : k + 5].encode() for k in range(max(1, len(text) - 4))}
        sketch = MinHash(num_perm=128)
        sketch.update_batch(mine)
        for other in index.query(sketch):
            theirs = shingles[other]
            found += len(mine & theirs) / len(mine | theirs) >= 0.9
        index.insert(i, sketch, check_duplication=False)
        shingles.append(mine)
    return found


SIDES = {"polymodal": relation, "inspect": inspected, "near_texts": near, "datasketch": sketched}


def once(side: str, n: int) -> dict[str, float]:
    """One side in this process, after a small round that loads everything."""
    SIDES[side](20)
    start, busy = time.perf_counter(), time.process_time()
    found = SIDES[side](n)
    seconds, cpu = time.perf_counter() - start, time.process_time() - busy
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    return {"found": found, "seconds": seconds, "cpu": cpu, "peak": peak}


def best_of(sides: tuple[str, ...], n: int, rounds: int) -> dict[str, dict[str, float]]:
    """The fastest of some rounds by CPU, the sides in turn."""
    best: dict[str, dict[str, float]] = {}
    env = {**os.environ, "OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}
    for _ in range(rounds):
        for side in sides:
            command = [sys.executable, __file__, str(n), side]
            told = subprocess.run(command, check=True, capture_output=True, env=env, text=True).stdout
            row = json.loads(told.splitlines()[-1])
            best[side] = min(best.get(side, row), row, key=lambda each: each["cpu"])
    for side, row in best.items():
        spent = f"{row['seconds']:7.2f} s, {row['cpu']:7.2f} s of CPU"
        print(f"{side:11} {row['found']:>7,} in {spent}, {row['peak']:,.0f} MB")
    return best


def main() -> int:
    posts, many = (int(sys.argv[i]) if len(sys.argv) > i else n for i, n in ((1, POSTS), (2, TEXTS)))
    asked = best_of(("polymodal", "inspect"), posts, 3)
    we, they = asked["polymodal"], asked["inspect"]
    print(
        f"{posts:,} posts: {posts / we['seconds']:,.0f} and {posts / they['seconds']:,.0f} posts a second, ",
        end="",
    )
    speed = they["cpu"] / we["cpu"]
    print(f"{they['seconds'] / we['seconds']:.1f} times as fast, {speed:.1f} by CPU (asked: 2)")
    large = best_of(("polymodal",), MANY, 1)["polymodal"]
    print(f"{MANY:,} posts: at most {large['peak']:,.0f} MB (asked: 500)")
    alike = best_of(("near_texts", "datasketch"), many, 1)
    we, they = alike["near_texts"], alike["datasketch"]
    quick = they["cpu"] / we["cpu"]
    print(
        f"{many:,} texts: {they['seconds'] / we['seconds']:.1f} times as fast, {quick:.1f} by CPU (asked: 3)"
    )
    return 1 if speed < 2 or large["peak"] > 500 or quick < 3 else 0


if __name__ == "__main__":
    if len(sys.argv) == 3 and sys.argv[2] in SIDES:
        print(json.dumps(once(sys.argv[2], int(sys.argv[1]))))
    else:
        sys.exit(main())
