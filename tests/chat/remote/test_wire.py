"""What stands between the SDK and aiohttp: whole answers, redirects, proxies, errors in the SDK's words."""

import gzip
import json
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread

import pytest
from tests.chat.server import Server, completion

from polymodal.chat import ChatError, user
from polymodal.chat.remote import Remote


class Answering(BaseHTTPRequestHandler):
    """Redirects /old, and answers all else, zipped, with the path that was asked."""

    protocol_version = "HTTP/1.1"

    def do_POST(self):
        asked = self.rfile.read(int(self.headers["content-length"]))
        self.server.seen.append((self.path, self.headers, json.loads(asked)))
        moved = self.path.startswith("/old")
        body = b"" if moved else gzip.compress(json.dumps(completion(self.path, json.loads(asked))).encode())
        self.send_response(307 if moved else 200)
        self.send_header("location" if moved else "content-encoding", "/new" if moved else "gzip")
        self.send_header("set-cookie", "who=me")
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_):
        pass


@pytest.fixture
def service(monkeypatch):
    for name in ("OPENAI_API_KEY", "OPENAI_BASE_URL", "http_proxy", "HTTP_PROXY", "no_proxy", "NO_PROXY"):
        monkeypatch.delenv(name, raising=False)
    with ThreadingHTTPServer(("127.0.0.1", 0), Answering) as server:
        server.seen = []
        Thread(target=server.serve_forever, daemon=True).start()
        server.url = f"http://127.0.0.1:{server.server_port}"
        yield server
        server.shutdown()


def test_a_zipped_answer_is_read_and_no_cookie_is_kept(service):
    model = Remote("m", f"{service.url}/v1")
    assert model(user("?"), seed=0).text == model(user("!"), seed=0).text == "/v1/chat/completions"
    assert all("Cookie" not in headers for _, headers, _ in service.seen)
    assert service.seen[0][1]["Content-Type"] == "application/json"


def test_a_redirect_is_followed_with_its_body(service):
    assert Remote("m", f"{service.url}/old")(user("?"), seed=0).text == "/new"
    (_, _, first), (_, _, second) = service.seen
    assert first == second


def test_the_environments_proxy_is_asked(service, monkeypatch):
    monkeypatch.setenv("http_proxy", service.url)
    assert Remote("m", "http://elsewhere.invalid/v1")(user("?"), seed=0).text.startswith("http://elsewhere")
    monkeypatch.setenv("no_proxy", "elsewhere.invalid")
    with pytest.raises(ChatError) as failed:
        Remote("m", "http://elsewhere.invalid/v1", retries=0)(user("?"), seed=0)
    assert failed.value.reason == "server"


def test_silence_is_a_timeout_and_a_broken_connection_the_servers_fault():
    for fault, reason in (("hang", "timeout"), ("cut", "server")):
        with (
            Server(fault=lambda body, times, fault=fault: fault) as server,
            pytest.raises(ChatError) as failed,
        ):
            Remote("m", server.url, retries=0, timeout=0.2)(user("?"), seed=0)
        assert failed.value.reason == reason
