"""The guard at the door: safety headers, bounded bodies, CSRF tokens, this machine."""

import hashlib
import hmac
from collections.abc import Awaitable, Callable, Mapping, MutableMapping
from typing import Any

from starlette.requests import ClientDisconnect, Request
from starlette.responses import JSONResponse

SAFE = {
    "content-security-policy": "default-src 'none'; script-src 'self'; style-src 'self'; media-src 'self'; "
    "img-src 'self' data:; connect-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'",
    "x-content-type-options": "nosniff",
    "x-frame-options": "DENY",
    "referrer-policy": "no-referrer",
    "cross-origin-opener-policy": "same-origin",
    "cross-origin-resource-policy": "same-origin",
    "permissions-policy": "camera=(), microphone=(), geolocation=()",
}
HOME = ("127.0.0.1", "::1", "localhost")
Scope = MutableMapping[str, Any]
Messages = Callable[..., Awaitable[Any]]


class _TooLargeError(Exception):
    """More bytes came than a request may have."""


class Guard:
    """Puts the safety headers on every reply, and ends requests whose bodies are too large.

    Args:
        app: what it guards.
        most: bytes of a body.
        larger: other limits, by path.
    """

    def __init__(self, app: Any, most: int, larger: Mapping[str, int]) -> None:
        self.app, self.most, self.larger = app, most, larger

    async def __call__(self, scope: Scope, receive: Messages, send: Messages) -> None:
        """One request."""
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        most, got, begun = self.larger.get(scope["path"], self.most), 0, False

        async def counted() -> Any:
            nonlocal got
            message = await receive()
            got += len(message.get("body", b""))
            if got > most:
                raise _TooLargeError
            return message

        async def safely(message: MutableMapping[str, Any]) -> None:
            nonlocal begun
            if message["type"] == "http.response.start":
                begun = True
                own = {name for name, _ in message["headers"]}
                extra = [] if b"cache-control" in own else [(b"cache-control", b"no-store")]
                safe = [(name.encode(), value.encode()) for name, value in SAFE.items()]
                message["headers"] = [*message["headers"], *safe, *extra]
            await send(message)

        length = dict(scope["headers"]).get(b"content-length", b"0")
        try:
            if not length.isdigit() or int(length) > most:
                raise _TooLargeError
            await self.app(scope, counted, safely)
        except ClientDisconnect:
            return  # nobody is there to be answered
        except _TooLargeError:
            if not begun:
                await JSONResponse({"detail": f"more than {most:,} bytes"}, 413)(scope, receive, safely)


def csrf_of(token: str) -> str:
    """The CSRF token that belongs to a rater's token; the same after a restart."""
    return hmac.new(token.encode("utf-8", "surrogatepass"), b"csrf", hashlib.sha256).hexdigest()


def at_home(request: Request) -> bool:
    """Whether the request was made on this machine and to it: by address, by name, and by no proxy."""
    host = (request.headers.get("host") or "").rpartition(":")[0] or request.headers.get("host", "")
    client = request.client.host if request.client else ""
    forwarded = any(name in request.headers for name in ("forwarded", "x-forwarded-for", "x-real-ip", "via"))
    return client in HOME and host.strip("[]") in HOME and not forwarded
