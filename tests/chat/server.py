"""A tiny OpenAI-compatible endpoint for tests and benches, with latency and faults to order."""

import asyncio
import json
from collections import Counter
from collections.abc import Callable
from threading import Condition, Thread
from typing import Any

Answer = Callable[[dict[str, Any]], Any]
Fault = Callable[[dict[str, Any], int], str]

# 429 and 500 say when to come back; `hang` never answers; `cut` ends in mid-body; `broken` is a whole body of
# half a JSON text; `empty` has no words; `form` answers beside the schema; any other number is a status.
FAULTS = ("429", "500", "hang", "cut", "broken", "empty", "form")
RETRY = "retry-after: 0.02\r\n"


def four(body: dict[str, Any]) -> str:
    return "The answer is 4."


def calm(body: dict[str, Any], times: int) -> str:
    return ""


class Server:
    """Answers `POST .../chat/completions` on 127.0.0.1 from a thread; a context.

    Attributes:
        asked: bodies of all requests, in order; `headers` beside them.
        answered: how many of them got a good answer; `met` counts the faults of the others.
    """

    def __init__(self, answer: Answer = four, *, latency: float = 0.0, fault: Fault = calm) -> None:
        self.answer, self.latency, self.fault = answer, latency, fault
        self.asked: list[dict[str, Any]] = []
        self.headers: list[str] = []
        self.answered = self.most = self.open = 0
        self.times: Counter[str] = Counter()
        self.met: Counter[str] = Counter()
        self.lock = Condition()
        self.url = ""

    def __enter__(self) -> "Server":
        self.loop = asyncio.new_event_loop()
        making = self.loop.create_server(lambda: Connection(self), "127.0.0.1", 0, backlog=1000)
        self.listening = self.loop.run_until_complete(making)
        self.url = f"http://127.0.0.1:{self.listening.sockets[0].getsockname()[1]}/v1"
        self.connections: set[Connection] = set()
        self.thread = Thread(target=self.loop.run_forever, daemon=True)
        self.thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.loop.call_soon_threadsafe(self.stop)
        self.thread.join()
        self.loop.close()

    def stop(self) -> None:
        self.listening.close()
        for connection in self.connections:
            connection.transport.abort()
        self.loop.call_later(0.01, self.loop.stop)  # the transports close in the meantime

    def failing(self, body: dict[str, Any]) -> str:
        key = json.dumps(body, sort_keys=True)
        self.times[key] += 1
        what = self.fault(body, self.times[key])
        self.met[what] += 1
        return what

    def reached(self, n: int) -> None:
        """Wait until so many requests have come in."""
        with self.lock:
            assert self.lock.wait_for(lambda: len(self.asked) >= n, 60), f"{len(self.asked)} of {n} requests"

    def reply(self, head: str, written: bytes) -> bytes | None:
        """The whole answer, b"" to hang, None to send half of one and hang up."""
        body = json.loads(written)
        with self.lock:
            self.asked.append(body)
            self.headers.append(head)
            what = "" if self.fault is calm else self.failing(body)
            self.lock.notify_all()
        if what == "hang":
            return b""
        if what == "cut":
            return None
        if what.isdigit():
            error = {"error": {"message": f"fault {what}", "type": "fault", "code": None}}
            return http(int(what), json.dumps(error).encode(), RETRY)
        said = {"": lambda: self.answer(body), "empty": lambda: "", "form": lambda: '{"other": true}'}
        made = said.get(what, said[""])()
        if isinstance(made, tuple):  # a status and what stands in the body
            return http(made[0], json.dumps(made[1]).encode(), "")
        data = json.dumps(made if isinstance(made, dict) else completion(made, body)).encode()
        self.answered += what == ""
        return http(200, data[: len(data) // 2] if what == "broken" else data, "")


def completion(text: str, body: dict[str, Any]) -> dict[str, Any]:
    asked, said = len(json.dumps(body["messages"]).split()), len(text.split())
    usage = {"prompt_tokens": asked, "completion_tokens": said, "total_tokens": asked + said}
    choice = {"index": 0, "message": {"role": "assistant", "content": text}, "finish_reason": "stop"}
    named = {"id": "1", "object": "chat.completion", "created": 1, "model": "m"}
    return {**named, "choices": [choice], "usage": usage}


def http(status: int, body: bytes, extra: str) -> bytes:
    kind = f"content-type: application/json\r\ncontent-length: {len(body)}\r\n"
    return f"HTTP/1.1 {status} X\r\n{kind}{extra}\r\n".encode() + body


class Connection(asyncio.Protocol):
    """One keep-alive connection."""

    def __init__(self, server: Server) -> None:
        self.server, self.held = server, b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self.transport = transport
        self.server.connections.add(self)

    def connection_lost(self, _: Exception | None) -> None:
        self.server.connections.discard(self)

    def data_received(self, data: bytes) -> None:
        self.held += data
        head, mark, rest = self.held.partition(b"\r\n\r\n")
        if not mark:
            return
        size = int(head.lower().partition(b"content-length:")[2].partition(b"\r\n")[0] or 0)
        if len(rest) < size:
            return
        self.held = rest[size:]
        server = self.server
        server.open += 1
        server.most = max(server.most, server.open)
        answer = server.reply(head.decode(), rest[:size])
        server.loop.call_later(server.latency, self.send, answer)

    def send(self, answer: bytes | None) -> None:
        self.server.open -= 1
        if answer is None:
            self.transport.write(http(200, b"x" * 100, "")[:-50])
            self.transport.close()
        elif answer and not self.transport.is_closing():
            self.transport.write(answer)
