"""guard: headers on every reply, bodies bounded however they come, and what counts as this machine."""

import asyncio
from collections.abc import Iterable
from typing import Any

import pytest

pytest.importorskip("starlette")
from starlette.requests import Request
from starlette.responses import PlainTextResponse

from polymodal.judge.web.guard import SAFE, Guard, at_home, csrf_of

TOKEN = "the token of somebody"


async def echo(scope: Any, receive: Any, send: Any) -> None:
    if scope["type"] == "http":
        await PlainTextResponse(await Request(scope, receive).body())(scope, receive, send)
    else:
        await send({"type": "lifespan.startup.complete"})


def asked(bodies: Iterable[bytes] | None, path: str = "/", kind: str = "http", **headers: str) -> list[Any]:
    """What a guarded application sends for a request in these pieces; None breaks off."""
    sent: list[Any] = []
    pieces = iter([{"type": "http.disconnect"}] if bodies is None else [
        {"type": "http.request", "body": body, "more_body": more}
        for body, more in zip([*bodies, b""], [True] * len([*bodies]) + [False], strict=True)
    ])  # fmt: skip

    async def receive() -> Any:
        return next(pieces)

    async def send(message: Any) -> None:
        sent.append(message)

    scope = {"type": kind, "method": "POST", "path": path,
             "headers": [(k.replace("_", "-").encode(), v.encode()) for k, v in headers.items()]}  # fmt: skip
    asyncio.run(Guard(echo, most=8, larger={"/upload": 20})(scope, receive, send))
    return sent


def test_replies_are_guarded_and_keep_what_they_say_of_caches() -> None:
    start, body = asked([b"12", b"345678"])
    headers = {name.decode(): value.decode() for name, value in start["headers"]}
    assert (start["status"], body["body"]) == (200, b"12345678")
    assert SAFE.items() <= headers.items()
    assert headers["cache-control"] == "no-store"


@pytest.mark.parametrize(
    ("bodies", "headers"),
    [
        ([b"123456789"], {}),
        ([b"12345", b"6789"], {}),
        ([b""], {"content_length": "9"}),
        ([b""], {"content_length": "-1"}),
    ],
)
def test_bodies_are_bounded_whether_or_not_they_say_how_long_they_are(bodies: Any, headers: Any) -> None:
    assert asked(bodies, **headers)[0]["status"] == 413
    assert asked(bodies, **headers)[0]["headers"][-1] == (b"cache-control", b"no-store")


def test_some_paths_take_more() -> None:
    assert asked([b"x" * 20], "/upload")[0]["status"] == 200
    assert asked([b"x" * 21], "/upload")[0]["status"] == 413


def test_who_has_gone_gets_no_answer_and_other_kinds_pass() -> None:
    assert asked(None) == []
    assert asked([], kind="lifespan") == [{"type": "lifespan.startup.complete"}]


def test_the_csrf_token_is_of_the_rater_and_tells_nothing() -> None:
    assert csrf_of(TOKEN) == csrf_of(TOKEN) != csrf_of(TOKEN + "x")
    assert TOKEN not in csrf_of(TOKEN)
    assert len(csrf_of("\ud800")) == 64


@pytest.mark.parametrize(
    ("client", "headers", "home"),
    [
        ("127.0.0.1", {"host": "localhost:8443"}, True),
        ("::1", {"host": "[::1]:8443"}, True),
        ("127.0.0.1", {"host": "127.0.0.1"}, True),
        ("10.0.0.9", {"host": "localhost:8443"}, False),
        ("127.0.0.1", {"host": "study.example"}, False),
        ("127.0.0.1", {"host": "localhost", "x-forwarded-for": "10.0.0.9"}, False),
        ("127.0.0.1", {"host": "localhost", "forwarded": "for=10.0.0.9"}, False),
        ("127.0.0.1", {}, False),
        (None, {"host": "localhost"}, False),
    ],
)
def test_only_this_machine_by_a_local_name_and_no_proxy_is_home(
    client: Any, headers: Any, home: bool
) -> None:
    scope = {"type": "http", "headers": [(k.encode(), v.encode()) for k, v in headers.items()],
             "client": client and (client, 5000)}  # fmt: skip
    assert at_home(Request(scope)) is home
