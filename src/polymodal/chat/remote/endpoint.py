"""Any OpenAI-compatible endpoint by the openai SDK: media as data, errors as reasons."""

from __future__ import annotations

import asyncio
import base64
import os
import re
import time
import weakref
from collections.abc import Mapping
from dataclasses import dataclass, replace
from threading import Lock
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from polymodal.chat.model import PLAIN, ChatError, Decoding, Reply, Schema, Stop, Usage, assistant
from polymodal.chat.pool import Line, line
from polymodal.media import Audio, Image, MediaError, Message, Part, Text, Video

if TYPE_CHECKING:
    import httpx2
    from openai import AsyncOpenAI, RequestOptions

    from polymodal.chat.remote.wire import Client

    _Made = tuple[Line, Client, RequestOptions, asyncio.Semaphore]

DEFAULT_URL = "https://api.openai.com/v1"
TYPES = {".png": "image/png", ".jpg": "image/jpeg", ".webp": "image/webp", ".gif": "image/gif"}
STOPS: Mapping[str, Stop] = {"length": "length", "content_filter": "filter"}
# What an endpoint may do without, or knows by another name; how replies are drawn is never left out.
SPARE: Mapping[str, str | None] = {
    "response_format": None,
    "seed": None,
    "max_tokens": "max_completion_tokens",
}
# The SDK's headers about this machine: the endpoint has no use for them, and they cost 5 % of a call's CPU.
UNTOLD = ("Lang", "Package-Version", "OS", "Arch", "Runtime", "Runtime-Version", "Async", "Read-Timeout")


class Remote:
    """A chat model behind an OpenAI-compatible URL.

    Retries, time-outs, 429 and Retry-After are the SDK's. What it takes for an answer and is none (a body
    that is no JSON, no words in it) is asked for again as often. Calls from any number of threads run on the
    process's one `Line`.

    Attributes:
        name: model, URL and all that changes replies; never the key.
    """

    def __init__(
        self,
        model: str,
        url: str | None = None,
        decoding: Decoding = PLAIN,
        *,
        frames: int = 8,
        largest: int = 20 * 2**20,
        connections: int = 100,
        retries: int = 4,
        timeout: float = 120.0,
    ) -> None:
        """The key is OPENAI_API_KEY's, where it is set.

        Args:
            model: as the endpoint calls it.
            url: of the endpoint, up to `/v1`; OPENAI_BASE_URL when None, else OpenAI's own if there is a key.
            decoding: how replies are drawn.
            frames: pictures that stand for a video.
            largest: bytes of one picture or sound that the endpoint takes; a larger one is refused unsent.
            connections: calls at once at most; others wait.
            retries: attempts after the first, before a call fails.
            timeout: seconds of silence before an attempt fails.

        Raises:
            ValueError: no endpoint, a URL that is none, or one that holds a secret.
        """
        for name, value in (("frames", frames), ("largest", largest), ("connections", connections)):
            if value < 1:
                raise ValueError(f"{name}={value}: it is at least 1")
        self.model, self.url, self.decoding = model, _endpoint(model, url), decoding
        self.frames, self.largest = frames, largest
        self.connections, self.retries, self.timeout = connections, retries, timeout
        self.name = f"openai:{model}@{self.url} {decoding} frames={frames}"
        self._key = os.environ.get("OPENAI_API_KEY") or "unset"
        self._left_out: dict[str, str | None] = {}
        self._made: _Made | None = None
        self._lock = Lock()

    def __repr__(self) -> str:
        return f"Remote({self.name!r})"

    def __call__(self, *messages: Message, seed: int, schema: Schema | None = None) -> Reply:
        """Ask the service.

        Raises:
            ChatError: refused_input (a part or prompt that the service does not take), timeout, rate_limit,
                server, or no_output.
            PermissionError: the key is refused: no other call would fare better.
            LookupError: the endpoint has no such model or path.
        """
        start = time.perf_counter()
        body, usage = self._body(messages, schema, seed=seed)
        way, client, options, places = self._client()
        try:
            reply = way.run(lambda: self._ask(client, options, places, body, usage))
        except ChatError as error:
            spent = replace(error.usage, seconds=time.perf_counter() - start)
            raise ChatError(error.reason, str(error), spent) from error.__cause__
        return replace(reply, usage=replace(reply.usage, seconds=time.perf_counter() - start))

    def _client(self) -> _Made:
        """The line, the client, what each call is told, and its places; made at the first call."""
        import openai

        from polymodal.chat.remote.wire import Client, Wire

        way = line()
        with self._lock:
            if self._made is None or self._made[0] is not way:
                client = Client(
                    base_url=self.url,
                    api_key=self._key,
                    http_client=Wire(self.timeout),
                )
                options: openai.RequestOptions = {
                    "headers": {f"X-Stainless-{name}": openai.Omit() for name in UNTOLD},
                    "timeout": self.timeout,
                    "max_retries": self.retries,
                    "params": {},  # said here, defaults need not be copied at each call
                    "security": {"bearer_auth": True},
                }
                self._made = way, client, options, asyncio.Semaphore(self.connections)
                weakref.finalize(self, _close, way, client)
            return self._made

    async def _ask(
        self,
        client: Client,
        options: RequestOptions,
        places: asyncio.Semaphore,
        body: dict[str, Any],
        usage: Usage,
    ) -> Reply:
        """One call, with all its attempts; `usage` is what a single attempt sends."""
        import openai

        failed, wrong = 0, ""
        async with places:  # held while the SDK waits before a retry too: a service that is slow gets less
            for _ in range(1 + self.retries + len(SPARE)):
                try:
                    # Not `chat.completions.create`: that walks through every field of the request and the
                    # reply by their types, which took half of the CPU of a call. The whole URL and the bare
                    # response spare the SDK another third.
                    sent = _renamed(body, self._left_out) if self._left_out else body
                    raw = await client.send(f"{self.url}/chat/completions", sent, options)
                    failed += _retried(raw.request)
                    reply = read(raw.json())
                    return replace(reply, usage=usage + reply.usage + Usage(calls=1, retries=failed))
                except ValueError as error:
                    failed, wrong = failed + 1, str(error)
                    if failed > self.retries:
                        break
                except openai.APIError as error:
                    failed += 1 + _retried(error.request)
                    if not self._spare(error, body):
                        return self._ended(error, replace(usage, retries=failed))
        raise ChatError("no_output", self._safe(wrong), replace(usage, retries=failed))

    def _spare(self, error: Exception, body: Mapping[str, Any]) -> bool:
        """Whether the service refused a field it can do without, which from now on is left out or renamed."""
        if getattr(error, "status_code", 0) not in (400, 422):
            return False
        said = str(error)
        new = [n for n in SPARE if n in body and n not in self._left_out and re.search(rf"\b{n}\b", said)]
        self._left_out = {**self._left_out, **{name: SPARE[name] for name in new}}
        return bool(new)

    def _ended(self, error: Any, usage: Usage) -> Reply:
        """A call that failed, as a reason; as a reply where the service's filter is what speaks."""
        import openai

        status, words = getattr(error, "status_code", 0), self._safe(f"{self.name}: {error}")
        if getattr(error, "code", None) == "content_filter":
            return Reply(assistant(), usage + Usage(calls=1, retries=-1), "filter")
        if status == 401:
            hint = "the key in OPENAI_API_KEY" if self._key != "unset" else "a call without OPENAI_API_KEY"
            raise PermissionError(f"{self.url} refuses {hint}: {words}")
        if status == 404:
            raise LookupError(f"{self.url} has no model {self.model!r}, or no /chat/completions: {words}")
        if isinstance(error, openai.APITimeoutError):
            raise ChatError("timeout", f"{self.name}: no answer in {self.timeout:g} s", usage) from error
        if status == 429:
            raise ChatError("rate_limit", words, usage) from error
        raise ChatError("refused_input" if 400 <= status < 500 else "server", words, usage) from error

    def _safe(self, words: str) -> str:
        """Without the key, should the service have repeated it, and short."""
        hidden = words.replace(self._key, "***") if len(self._key) > 5 else words
        return hidden[:1000]

    def _body(
        self, messages: tuple[Message, ...], schema: Schema | None, *, seed: int
    ) -> tuple[dict[str, Any], Usage]:
        """The request, and what of it leaves this machine."""
        written, usage = [], Usage()
        for message in messages:
            sent = [piece for part in message.parts for piece in self._pieces(part)]
            usage += Usage(bytes_out=sum(p.bytes for p in sent), pixels_out=sum(p.pixels for p in sent))
            plain = all(isinstance(part, Text) for part in message.parts)  # not every server reads lists
            content = "\n".join(p.data["text"] for p in sent) if plain else [p.data for p in sent]
            written.append({"role": message.role, "content": content})
        drawn = self.decoding
        body: dict[str, Any] = {
            "model": self.model,
            "messages": written,
            "max_tokens": drawn.tokens,
            "temperature": drawn.temperature,
            "top_p": drawn.top_p,
            "seed": seed % 2**31,
        }
        if drawn.first:
            body |= {"logprobs": True, "top_logprobs": drawn.first}
        if schema is not None:
            form = {"name": "reply", "schema": dict(schema)}
            body["response_format"] = {"type": "json_schema", "json_schema": form}
        return body, usage

    def _pieces(self, part: Part) -> list[_Piece]:
        try:
            match part:
                case Text():
                    text = part.read()
                    return [_Piece({"type": "text", "text": text}, len(text.encode("utf-8", "replace")))]
                case Image():
                    return [self._picture(part, repr(part))]
                case Video():
                    shown = part.frames(count=self.frames)
                    return [self._picture(Image(frame.pixels), repr(part)) for frame in shown]
                case Audio():
                    rate = part.rate()
                    wave = self._fitting(Audio(part.wave(), rate).encoded(), repr(part))  # the cut alone
                    sound = {"data": base64.b64encode(wave).decode(), "format": "wav"}
                    return [_Piece({"type": "input_audio", "input_audio": sound}, len(wave))]
        except MediaError as error:
            raise ChatError("refused_input", str(error)) from error
        taken = "text, image, audio and video"
        raise ChatError("refused_input", f"{self.name}: a part of kind {part.kind}; it takes {taken}")

    def _picture(self, picture: Image, what: str) -> _Piece:
        data, (width, height) = self._fitting(picture.encoded(), what), picture.size()
        url = f"data:{TYPES[picture.suffix()]};base64,{base64.b64encode(data).decode()}"
        return _Piece({"type": "image_url", "image_url": {"url": url}}, len(data), width * height)

    def _fitting(self, data: bytes, what: str) -> bytes:
        if len(data) > self.largest:
            limit = f"{self.url} takes {self.largest:,}"
            raise ChatError("refused_input", f"{what}: {len(data):,} bytes, {limit}; nothing was sent")
        return data


@dataclass(frozen=True, slots=True)
class _Piece:
    """One piece of a message's content, and how much of whose it is."""

    data: dict[str, Any]
    bytes: int
    pixels: int = 0


def read(body: Any) -> Reply:
    """A reply from the body of an answer.

    Raises:
        ValueError: there is none in it; the message says what is wrong.
    """
    try:
        choice = body["choices"][0]
        message = choice["message"]
        content = message.get("content")
        if isinstance(content, list):  # some services answer in parts
            content = "".join(piece.get("text") or "" for piece in content)
        text = content or message.get("refusal") or ""
        stop = STOPS.get(choice.get("finish_reason"), "stop")
        logs = choice.get("logprobs") or {}
        tops = ((logs.get("content") or [{}])[0] or {}).get("top_logprobs") or []
        first = {str(top["token"]): min(float(top["logprob"]), 0.0) for top in reversed(tops)}
    except (TypeError, KeyError, IndexError, AttributeError) as error:
        raise ValueError(f"the answer is no chat completion: {type(error).__name__} {error}") from error
    if not isinstance(text, str) or (not text.strip() and stop == "stop"):
        raise ValueError("the answer has no words")
    return Reply(assistant(text), _counted(body.get("usage")), stop, first or None)


def _counted(said: Any) -> Usage:
    """The tokens that a service says it used; what it does not say, or says wrongly, is 0."""

    def count(where: Any, name: str) -> int:
        value = where.get(name) if isinstance(where, Mapping) else 0
        return value if type(value) is int and value > 0 else 0

    details = said.get("prompt_tokens_details") if isinstance(said, Mapping) else None
    return Usage(
        tokens_in=count(said, "prompt_tokens"),
        tokens_out=count(said, "completion_tokens"),
        image_tokens=count(details, "image_tokens"),
    )


def _renamed(body: Mapping[str, Any], names: Mapping[str, str | None]) -> dict[str, Any]:
    """The body with fields under other names, or without them (None)."""
    kept = {names.get(name, name): value for name, value in body.items()}
    return {name: value for name, value in kept.items() if name is not None}


def _retried(request: httpx2.Request) -> int:
    """How many requests the SDK made before this one, by its own count in the header."""
    return int(request.headers.get("x-stainless-retry-count", 0))


def _endpoint(model: str, url: str | None) -> str:
    """The URL to ask, without a slash at its end."""
    given = url or os.environ.get("OPENAI_BASE_URL") or ""
    if not given and not os.environ.get("OPENAI_API_KEY"):
        raise ValueError(
            f"openai:{model} has no endpoint: write openai:{model}@http://HOST:PORT/v1, or set "
            "OPENAI_BASE_URL; for OpenAI's own service set OPENAI_API_KEY"
        )
    parts = urlsplit(given or DEFAULT_URL)
    if parts.username or parts.password or parts.query or parts.fragment:
        raise ValueError(
            f"openai:{model}@{parts.scheme}://{parts.hostname}{parts.path}: a URL is kept and shown, so no "
            "user, password or query may stand in it; put the key into OPENAI_API_KEY"
        )
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise ValueError(f"openai:{model}@{given}: the URL is http:// or https:// and a host, up to /v1")
    return (given or DEFAULT_URL).rstrip("/")


def _close(way: Line, client: AsyncOpenAI) -> None:
    """Close a client's connections, unless they are those of the process that we were forked from."""
    if way.pid == os.getpid():
        way.close(lambda: asyncio.wait_for(client.close(), 2))
