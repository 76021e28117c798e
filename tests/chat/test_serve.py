"""A real `transformers serve` on a tiny checkpoint: what comes by HTTP is what the same folder says here."""

import os
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from urllib.request import urlopen

import numpy as np
import pytest
from tests.chat import tiny

from polymodal.chat import ChatModel, Decoding, assistant, connect, system, user
from polymodal.media import Image

GREEDY = Decoding(tokens=16)
PIXELS = np.random.default_rng(1).integers(0, 255, (20, 32, 3), dtype=np.uint8)


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def wait(url: str, server: subprocess.Popen[bytes], log: Path) -> None:
    """Until the server answers."""
    for _ in range(480):
        assert server.poll() is None, log.read_text()
        try:
            urlopen(url, timeout=5).close()
        except OSError:
            time.sleep(0.25)
        else:
            return
    raise AssertionError(f"no answer from {url}: {log.read_text()}")


@pytest.fixture(scope="module")
def pair(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[ChatModel, ChatModel]]:
    """The same folder behind HTTP and here."""
    folder = tiny.vision_model(tmp_path_factory.mktemp("llava"))
    home = tmp_path_factory.mktemp("home")
    port, log = free_port(), home / "serve.log"
    command = [str(Path(sys.executable).parent / "transformers"), "serve", str(folder)]
    keep = {name: value for name, value in os.environ.items() if not name.startswith("COV")}
    with log.open("wb") as sink:
        server = subprocess.Popen(
            [*command, "--host", "127.0.0.1", "--port", str(port), "--device", "cpu"],
            env={**keep, "HF_HUB_OFFLINE": "1", "HF_HOME": str(home), "OMP_NUM_THREADS": "1"},
            stdout=sink,
            stderr=sink,
        )
        try:
            wait(f"http://127.0.0.1:{port}/health", server, log)
            remote = connect(f"openai:{folder}@http://127.0.0.1:{port}/v1", decoding=GREEDY)
            yield remote, connect(f"local:{folder}", decoding=GREEDY)
        finally:
            server.terminate()
            server.wait(timeout=30)


@pytest.mark.parametrize(
    "talk",
    [
        (user("Who?"),),
        (system("Be brief."), user("one", "two")),
        (user(Image(PIXELS), "What is it?"),),
        (user("Compare", Image(PIXELS), Image(255 - PIXELS)), assistant("Two."), user("Why?")),
    ],
    ids=["words", "system", "picture", "two pictures"],
)
def test_serve_and_local_say_the_same(pair: tuple[ChatModel, ChatModel], talk: tuple) -> None:
    remote, local = (model(*talk, seed=3) for model in pair)
    assert remote.text == local.text != ""
    assert remote.stop == local.stop
    assert remote.usage.tokens_in == local.usage.tokens_in
    assert remote.usage.tokens_out == local.usage.tokens_out
    pictures = sum(isinstance(part, Image) for message in talk for part in message.parts)
    assert remote.usage.pixels_out == pictures * 640
    assert local.usage.image_tokens == pictures * 4
    assert local.usage.bytes_out == 0


def test_a_picture_changes_the_served_reply(pair: tuple[ChatModel, ChatModel]) -> None:
    remote, _ = pair
    first, second = (remote(user(Image(p), "What is it?"), seed=0).text for p in (PIXELS, 255 - PIXELS))
    assert first != second
