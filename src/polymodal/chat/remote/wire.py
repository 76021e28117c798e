"""The openai SDK's HTTP client, without layers that its calls do not need."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any
from urllib.request import getproxies, proxy_bypass

import aiohttp
import httpx2
from openai import AsyncOpenAI, RequestOptions
from openai._models import FinalRequestOptions


class Client(AsyncOpenAI):
    """The SDK's client for calls that differ in their body alone: URL, options and headers are made once."""

    _pattern: httpx2.Request | None = None
    _call: FinalRequestOptions | None = None

    async def send(self, url: str, body: Mapping[str, Any], options: RequestOptions) -> httpx2.Response:
        """Post a body, with the SDK's retries; `post` makes the options anew, a tenth of a call's CPU."""
        if self._call is None:
            self._call = FinalRequestOptions.construct(method="post", url=url, **options)
        return await self.request(httpx2.Response, self._call.model_copy(update={"json_data": body}))

    def _build_request(self, options: Any, *, retries_taken: int = 0) -> httpx2.Request:
        if self._pattern is None:
            self._pattern = super()._build_request(options)
        headers = self._pattern.headers.copy()
        headers["x-stainless-retry-count"] = str(retries_taken)
        content = json.dumps(options.json_data).encode()
        return self._client.build_request("POST", self._pattern.url, headers=headers, content=content)


class Wire(httpx2.AsyncClient):
    """What the SDK takes as `http_client`: its requests go to aiohttp, the answers come back whole.

    Headers, keys, retries and the sense of a status stay the SDK's. Left out are the merging of URLs and
    headers, the cookies, and the streaming of bodies, which took a third of the CPU of a call. Redirects and
    proxies from the environment are aiohttp's.

    Raises:
        httpx2.ReadTimeout: the service was silent too long.
        httpx2.ConnectError: there was no service, or it broke off.
    """

    def __init__(self, timeout: float) -> None:
        """`timeout` is the seconds of silence, or of connecting, that end an attempt."""
        super().__init__(timeout=timeout)
        self._patience = aiohttp.ClientTimeout(total=None, sock_connect=timeout, sock_read=timeout)
        self._session: aiohttp.ClientSession | None = None

    def build_request(self, method: str, url: Any, **given: Any) -> httpx2.Request:
        """The request as the SDK words it."""
        return httpx2.Request(method, url, headers=given["headers"], content=given["content"])

    async def send(self, request: httpx2.Request, **_: Any) -> httpx2.Response:
        """Send it, and read the answer to its end."""
        if self._session is None:  # a session belongs to the loop that it is made on
            connector = aiohttp.TCPConnector(limit=0, ssl=httpx2.create_ssl_context())
            self._session = aiohttp.ClientSession(
                connector=connector, timeout=self._patience, proxy=_proxy(request.url),
                auto_decompress=False, cookie_jar=aiohttp.DummyCookieJar(),
            )  # fmt: skip
        try:
            async with self._session.request(
                request.method, str(request.url), headers=_plain(request.headers), data=request.content
            ) as answer:
                body = await answer.read()
        except aiohttp.ConnectionTimeoutError as error:
            raise httpx2.ConnectError(str(error), request=request) from error
        except TimeoutError as error:
            raise httpx2.ReadTimeout(str(error), request=request) from error
        except aiohttp.ClientError as error:
            raise httpx2.ConnectError(str(error) or type(error).__name__, request=request) from error
        return httpx2.Response(answer.status, headers=answer.raw_headers, content=body, request=request)

    async def aclose(self) -> None:
        """Close the connections."""
        if self._session is not None:
            await self._session.close()
        await super().aclose()


def _proxy(url: httpx2.URL) -> str | None:
    """The environment's proxy for a URL; asked once, because aiohttp would look it up at each call."""
    return None if proxy_bypass(url.host) else getproxies().get(url.scheme)


def _plain(headers: httpx2.Headers) -> Mapping[str, str]:
    """Without those that aiohttp writes itself."""
    return {name: value for name, value in headers.items() if name not in ("content-length", "host")}
