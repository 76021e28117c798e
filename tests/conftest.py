"""No network, no hub, and in CI no skips."""

import os
import socket
from collections.abc import Iterator
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


@pytest.fixture(scope="module", autouse=True)
def shapes_unchecked(request: pytest.FixtureRequest) -> Iterator[None]:
    """Whole runs go at their users' speed; shapes are checked where the parts themselves are tested."""
    whole = any(word in str(request.path) for word in ("/systems/", "/test_cli", "/test_examples"))
    jaxtyping.config.update("jaxtyping_disable", whole)
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
