"""No network, no hub, and in CI no skips."""

import os
import socket
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import Any

import jaxtyping
import pytest

os.environ.setdefault("HF_HUB_OFFLINE", "1")
os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
os.environ.setdefault("OMP_NUM_THREADS", "1")
connect = socket.socket.connect
CHROMIUM = Path("/usr/bin/chromium")


def local_only(self: socket.socket, address: Any) -> None:
    """Connect to this machine only."""
    remote = address[0] not in ("127.0.0.1", "::1", "localhost") if isinstance(address, tuple) else False
    if self.family in (socket.AF_INET, socket.AF_INET6) and remote:
        raise OSError(f"tests have no network: {address}")
    connect(self, address)


@pytest.fixture(autouse=True)
def no_network(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(socket.socket, "connect", local_only)


@contextmanager
def no_tracing() -> Iterator[None]:
    """Without coverage, which takes a third of the time, here and in processes that begin here."""
    here, threads = sys.gettrace(), threading.gettrace()
    with pytest.MonkeyPatch.context() as patch:
        patch.delenv("COVERAGE_PROCESS_CONFIG", raising=False)
        sys.settrace(None)
        threading.settrace(None)  # type: ignore[arg-type]
        yield
        sys.settrace(here)
        threading.settrace(threads)  # type: ignore[arg-type]


@pytest.fixture
def untraced() -> Iterator[None]:
    """For a test of many rounds whose lines others cover."""
    with no_tracing():
        yield


@pytest.fixture(scope="module", autouse=True)
def at_full_speed(request: pytest.FixtureRequest) -> Iterator[None]:
    """Whole runs go at their users' speed: shapes are checked and lines counted in the parts' own tests."""
    path = str(request.path)
    whole = "/systems/" in path
    jaxtyping.config.update("jaxtyping_disable", whole or "/test_cli" in path or "/test_examples" in path)
    with no_tracing() if whole or "/house/" in path or "/test_fuzz" in path else nullcontext():
        yield
    jaxtyping.config.update("jaxtyping_disable", False)


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    """Debian's Chromium, driven by Playwright."""
    if not CHROMIUM.exists():
        pytest.skip(f"{CHROMIUM} is not installed")
    sync = pytest.importorskip("playwright.sync_api")
    with sync.sync_playwright() as playwright:
        chromium = playwright.chromium.launch(executable_path=str(CHROMIUM), args=["--no-sandbox"])
        yield chromium
        chromium.close()


@pytest.hookimpl(trylast=True)
def pytest_sessionfinish(session: pytest.Session) -> None:
    """In CI everything that the tests need is installed, so a skipped test is a failed one."""
    reporter = session.config.pluginmanager.get_plugin("terminalreporter")
    if os.environ.get("POLYMODAL_CI") and reporter and reporter.stats.get("skipped"):
        session.exitstatus = pytest.ExitCode.TESTS_FAILED
