"""Judged samples a second, beside Inspect AI in the same run; and memory, flat in the number of samples.

Run from the project's root: `python bench/judging.py`. It ends with 1 where a floor is missed. Three figures:
3,000 single-turn samples against an endpoint with 100 ms latency at 100 connections in all, each judged by a
rule; 1,000 samples of a scripted model and a rule, where nothing but the grid takes time; and the most memory
held for 3,000 and for 30,000 samples.

Inspect runs one evaluation in one process. Ours is measured so too, and, which is what the floor is about, as
`run.map` does it with the executor `process`: one process a core, the connections shared out. Starting
interpreters and importing is outside the clock on both sides; each side first answers a few samples.
"""

import asyncio
import json
import os
import re
import subprocess
import sys
import tempfile
import time
from multiprocessing import get_context
from pathlib import Path
from typing import Any

SAMPLES, CONNECTIONS, LATENCY = 3_000, 100, 0.1
THEIRS = 300  # samples of Inspect's against the endpoint: the same rate in less of your time
ROUNDS = 5  # each side's best counts: whatever else the machine does only slows
SCRIPT = "scripted:say?text=The answer is 4."
SCRIPTED, FEW, MANY = 1_000, 3_000, 30_000
FLOOR, RATIO, GROWTH = 900, 5, 4  # samples/s, times Inspect, MB


class Endpoint(asyncio.Protocol):
    """Says the same to each request, after a while, for as little CPU as it can: a real one has its own."""

    held = b""

    def connection_made(self, transport: Any) -> None:
        """Keep where to write."""
        self.transport = transport

    def data_received(self, data: bytes) -> None:
        """Answer, later, once the request is whole."""
        self.held += data
        head, mark, rest = self.held.partition(b"\r\n\r\n")
        length = re.search(rb"content-length: *(\d+)", head, re.IGNORECASE)
        if not mark or not length or len(rest) < int(length[1]):
            return
        self.held = rest[int(length[1]) :]
        asyncio.get_running_loop().call_later(LATENCY, self.transport.write, ANSWER)


MESSAGE = {"role": "assistant", "content": "The answer is 4."}
COMPLETION = {
    "id": "1",
    "object": "chat.completion",
    "created": 1,
    "model": "m",
    "choices": [{"index": 0, "message": MESSAGE, "finish_reason": "stop"}],
    "usage": {"prompt_tokens": 9, "completion_tokens": 5, "total_tokens": 14},
}
SAID = json.dumps(COMPLETION).encode()
HEAD = f"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: {len(SAID)}\r\n\r\n"
ANSWER = HEAD.encode() + SAID


async def serve() -> None:
    """Print the URL and answer until stopped."""
    server = await asyncio.get_running_loop().create_server(Endpoint, "127.0.0.1", 0, backlog=1000)
    print(f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/v1", flush=True)
    await server.serve_forever()


def judged(model: Any, n: int, threads: int, start: int = 0) -> float:
    """Ask a model and judge what it says, as every recipe does; the share of right answers."""
    from polymodal.chat import user
    from polymodal.judge import Subject, answers, case_of, contains, verdicts
    from polymodal.media import Message, Sample, Text

    def single(sample: Sample, *, seed: int) -> tuple[tuple[Message, ...], Any]:
        prompt = user(*sample.parts.values())
        reply = model(prompt, seed=seed)
        return (prompt, reply.message), reply.usage

    subjects: dict[str, Subject] = {"target": single}
    items = (
        Sample(f"s{i}", {"ask": Text(f"What is 2 + 2, for the {i}th time?")}) for i in range(start, start + n)
    )
    cases = (case_of(answer, reference="4") for answer in answers(subjects, items, seed=0, threads=threads))
    return sum(v.scores["contains"] for _, v in verdicts([contains()], cases, seed=0)) / n


def part(url: str, first: int, n: int, connections: int, ready: Any, told: Any) -> None:
    """One process's share: warm up, wait for the others, answer."""
    from polymodal.chat.remote import Remote

    model = Remote("m", url, connections=connections)
    judged(model, 2 * connections, connections)
    ready.wait()
    start, cpu = time.time(), time.process_time()
    right = judged(model, n, connections, first)
    told.put((start, time.time(), time.process_time() - cpu, right))


def ours(url: str, processes: int) -> tuple[float, float]:
    """Samples a second, and CPU milliseconds a sample."""
    context = get_context("spawn")
    ready, told = context.Barrier(processes), context.Queue()
    share, places = SAMPLES // processes, CONNECTIONS // processes
    workers = [
        context.Process(target=part, args=(url, i * share, share, places, ready, told))
        for i in range(processes)
    ]
    for worker in workers:
        worker.start()
    ended = [told.get() for _ in workers]
    for worker in workers:
        worker.join()
    assert all(right == 1 for *_, right in ended), "a reply was judged wrong"
    seconds = max(end for _, end, *_ in ended) - min(start for start, *_ in ended)
    return SAMPLES / seconds, 1e3 * sum(cpu for _, _, cpu, _ in ended) / SAMPLES


def inspect(model: Any, n: int) -> tuple[float, float]:
    """The same by Inspect AI: generate, and a scorer that looks for the target in the reply.

    With the settings that were fastest for it: samples at once as connections, no live log.
    """
    from inspect_ai import Task, eval
    from inspect_ai.dataset import MemoryDataset, Sample
    from inspect_ai.scorer import includes
    from inspect_ai.solver import generate

    samples = [Sample(input=f"What is 2 + 2, for the {i}th time?", target="4", id=i) for i in range(1, n + 1)]
    task = Task(dataset=MemoryDataset(samples), solver=generate(), scorer=includes())
    with tempfile.TemporaryDirectory() as logs:
        start, cpu = time.perf_counter(), time.process_time()
        at_once = {"max_connections": CONNECTIONS, "max_samples": CONNECTIONS}
        [log] = eval(task, model=model, display="none", log_dir=logs, log_realtime=False, **at_once)
        seconds, cpu = time.perf_counter() - start, time.process_time() - cpu
    assert log.status == "success", str(log.error)[:300]
    assert log.results
    assert log.results.scores[0].metrics["accuracy"].value == 1
    return n / seconds, 1e3 * cpu / n


def inspect_remote(url: str) -> tuple[float, float]:
    """Inspect against the endpoint, warmed up."""
    from inspect_ai.model import GenerateConfig, get_model

    config = GenerateConfig(max_connections=CONNECTIONS)
    model = get_model("openai-api/bench/m", base_url=url, api_key="none", config=config)
    inspect(model, CONNECTIONS)
    return inspect(model, THEIRS)


def inspect_scripted() -> tuple[float, float]:
    """Inspect with its mock model, which says the same each time."""
    from inspect_ai.model import ModelOutput, ModelUsage, get_model

    def said(*_: Any) -> ModelOutput:
        output = ModelOutput.from_content("mockllm/model", "The answer is 4.")
        output.usage = ModelUsage(input_tokens=9, output_tokens=5, total_tokens=14)  # or it loads a tokeniser
        return output

    inspect(get_model("mockllm/model", custom_outputs=said), 50)
    return inspect(get_model("mockllm/model", custom_outputs=said), SCRIPTED)


def scripted() -> float:
    """Our samples a second with a script, in this process."""
    from polymodal.chat import connect

    model = connect(SCRIPT)
    judged(model, 50, 1)
    found = []
    for _ in range(3):
        start = time.perf_counter()
        assert judged(model, SCRIPTED, 1) == 1
        found.append(SCRIPTED / (time.perf_counter() - start))
    return max(found)


def most_memory(n: int) -> float:
    """MB resident at most in a process while it judges `n` scripted samples on 100 threads (Linux)."""
    code = f"import judging; judging.remembered({n})"
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=Path(__file__).parent, capture_output=True, text=True, check=True
    )
    return float(done.stdout)


def remembered(n: int) -> None:
    """Print the most resident memory of the judging alone, in MB: importing took more for a moment."""
    from polymodal.chat import connect

    model, memory = connect(SCRIPT), Path("/proc/self")
    judged(model, 300, 100)
    (memory / "clear_refs").write_text("5")  # the peak begins anew
    judged(model, n, 100)
    lines = (memory / "status").read_text().splitlines()
    print(next(int(line.split()[1]) / 1e3 for line in lines if line.startswith("VmHWM")))


def main() -> int:
    """Print the lines; 1 where a floor is missed."""
    words = [sys.executable, "-c", "import asyncio, judging; asyncio.run(judging.serve())"]
    cores = min(os.cpu_count() or 1, 4)
    with subprocess.Popen(words, cwd=Path(__file__).parent, stdout=subprocess.PIPE, text=True) as server:
        assert server.stdout
        url = server.stdout.readline().strip()
        try:
            rounds = [(ours(url, 1), ours(url, cores), inspect_remote(url)) for _ in range(ROUNDS)]
        finally:
            server.terminate()
    (one, one_cpu), (rate, cpu), (theirs, their_cpu) = (max(side) for side in zip(*rounds, strict=True))
    ceiling = CONNECTIONS / LATENCY
    print(
        f"{SAMPLES:,} samples at {1e3 * LATENCY:.0f} ms, {CONNECTIONS} connections "
        f"(ceiling {ceiling:,.0f}/s): {rate:.0f}/s in {cores} processes (floor {FLOOR}/s), "
        f"{cpu:.2f} ms CPU a sample; {one:.0f}/s in one, {one_cpu:.2f} ms; "
        f"Inspect AI {theirs:.0f}/s, {their_cpu:.2f} ms; {rate / theirs:.1f} x, {one / theirs:.1f} x in one"
    )
    quick, (slow, _) = scripted(), inspect_scripted()
    print(
        f"{SCRIPTED:,} scripted samples and a rule: {quick:,.0f}/s, Inspect AI's mock model {slow:.0f}/s, "
        f"{quick / slow:.0f} x (floor {RATIO} x)"
    )
    few, many = most_memory(FEW), most_memory(MANY)
    print(
        f"memory at most: {FEW:,} samples {few:.1f} MB, {MANY:,} samples {many:.1f} MB "
        f"(floor {GROWTH} MB more)"
    )
    return 0 if rate >= FLOOR and quick / slow >= RATIO and many - few <= GROWTH else 1


if __name__ == "__main__":
    sys.exit(main())
