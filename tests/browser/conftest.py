"""Chromium, and servers for it: one with real speech, one with the tone engine for what goes wrong on demand."""

import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, BrowserContext, Page, expect, sync_playwright

from tests.browser.site import Site

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "scripts"))

from setup import find_chromium  # type: ignore[import-not-found] # found at run time

expect.set_options(timeout=15_000)

FLAGS = ["--no-sandbox", "--autoplay-policy=no-user-gesture-required"]
EXPECTED = ("Failed to load resource", "net::ERR_")
"""What Chromium itself writes when a request fails; the page cannot keep it from doing so."""

Opener = Callable[..., Page]


@pytest.fixture(scope="session")
def browser() -> Iterator[Browser]:
    path = find_chromium()
    assert path, "no Chromium: scripts/setup.py test installs one"
    with sync_playwright() as tools:
        browser = tools.chromium.launch(executable_path=path, args=FLAGS)
        yield browser
        browser.close()


@pytest.fixture(scope="session")
def speaking(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    """Piper speaks."""
    site = Site(tmp_path_factory.mktemp("speaking"), {"limits": {"min_free_disk_mb": 0}}).start()
    yield site
    site.stop()


@pytest.fixture(scope="session")
def beeping(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    """The tone engine beeps, and fails when it is told to."""
    settings = {
        "engine": {"name": "tone", "also": ""},
        "limits": {"min_free_disk_mb": 0},
        "scheduler": {"segment_failures": 1},
        "fleet": {"bulk_slots": 2},
    }
    site = Site(tmp_path_factory.mktemp("beeping"), settings).start()
    yield site
    site.stop()


@pytest.fixture
def opened(browser: Browser) -> Iterator[Opener]:
    """Opens pages in a browser of their own; at the end nothing may have been complained about."""
    contexts: list[BrowserContext] = []
    complaints: list[str] = []

    def open_page(site: Site, path: str = "/", context: BrowserContext | None = None, **options: object) -> Page:
        if context is None:
            context = browser.new_context(**options)  # type: ignore[arg-type]
            contexts.append(context)
        page = context.new_page()
        page.set_default_timeout(30_000)

        def heard(kind: str, text: str) -> None:
            if kind in ("error", "warning") and not text.startswith(EXPECTED[0]) and EXPECTED[1] not in text:
                complaints.append(text)

        page.on("console", lambda message: heard(message.type, message.text))
        page.on("pageerror", lambda error: complaints.append(str(error)))
        page.goto(site.url + path)
        return page

    yield open_page
    for context in contexts:
        context.close()
    assert not complaints
