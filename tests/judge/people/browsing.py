"""A rater's hands in a real browser."""

import json
from typing import Any

from polymodal.judge.people.store import Store
from polymodal.judge.people.verdicts import given


def opened(browser: Any, url: str, token: str, **how: Any) -> Any:
    """A tab of its own context, at the page where this rater is."""
    context = browser.new_context(**how)
    context.set_default_timeout(30_000)
    tab = context.new_page()
    tab.troubles, tab.statuses = [], []
    tab.on("response", lambda reply: tab.statuses.append(reply.status))
    tab.on("pageerror", lambda error: tab.troubles.append(str(error)))
    tab.on("console", lambda m: tab.troubles.append(m.text) if "Content Security" in m.text else None)
    tab.goto(f"{url}/s/{token}")
    tab.wait_for_url(f"{url}/now")
    return tab


def pick(tab: Any, field: str, value: Any) -> None:
    tab.locator(f"[data-field={field}] input[value='{json.dumps(value)}']").first.check(force=True)


def agree(tab: Any) -> None:
    with tab.expect_navigation():
        tab.click("button[value=yes]")


def saved(tab: Any) -> None:
    tab.wait_for_selector("#status.good")


def send(tab: Any) -> None:
    with tab.expect_navigation():
        tab.click("#work button[type=submit]")


def said(store: Store) -> dict[str, dict[str, Any]]:
    """What the export holds: by page, answers by question."""
    found: dict[str, dict[str, Any]] = {}
    for one in given(store):
        found.setdefault(store.study.pages[one.page].id, {}).update(one.values)
    return found
