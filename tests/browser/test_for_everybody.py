"""For everybody: no barriers found by axe, keys alone suffice, every width, no shifting, no other site, and little to load."""

import re
from pathlib import Path

import httpx
import pytest
from playwright.sync_api import Page, expect

from tests.browser.conftest import Opener
from tests.browser.site import Site, until

AXE = Path(__file__).resolve().parents[2] / "ui" / "node_modules" / "axe-core" / "axe.min.js"
RULES = ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa", "best-practice"]
LONG = "The men carry their nets down to the boats in the dark, one after the other. " * 150


def violations(page: Page) -> list[str]:
    """What axe finds, one line each."""
    page.evaluate(AXE.read_text(encoding="utf-8"))
    page.wait_for_timeout(250)
    found = page.evaluate("rules => axe.run(document, {runOnly: {type: 'tag', values: rules}})", RULES)
    return [
        f"{one['id']}: {node['html'][:160]} {node['failureSummary'][:200]}"
        for one in found["violations"]
        for node in one["nodes"]
    ]


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_axe_finds_nothing_in_any_view(opened: Opener, speaking: Site, theme: str) -> None:
    speaking.clear()
    done = speaking.enqueue("The harbor wakes up. The men carry their nets.")
    speaking.ended(done)
    page = opened(speaking, color_scheme=theme, bypass_csp=True)  # axe itself would break it
    expect(page.get_by_role("region", name="History").get_by_role("listitem")).to_have_count(1)
    assert page.evaluate("document.documentElement.dataset.theme") == theme
    found = {"empty": violations(page)}
    page.get_by_role("button", name="More settings").click()
    page.get_by_text("Clone a voice").click()
    found["clone"] = violations(page)
    page.locator(".segmented").get_by_text("Voice", exact=True).click()
    running = speaking.enqueue(LONG)
    page.evaluate("id => localStorage.setItem('tts_current_job_id', id)", running)
    page.reload()
    expect(page.get_by_role("progressbar")).to_be_visible()
    found["running"] = violations(page)
    for view in ("queue", "history", "voices", "settings"):
        page.goto(f"{speaking.url}/#/{view}")
        page.locator("main h1").wait_for()
        page.wait_for_timeout(400)
        found[view] = violations(page)
    httpx.delete(f"{speaking.url}/tts/{running}")
    page.evaluate("id => localStorage.setItem('tts_current_job_id', id)", done)
    page.goto(f"{speaking.url}/#/studio")
    page.reload()
    expect(page.get_by_role("group", name="Player")).to_be_visible()
    page.get_by_role("slider", name="Segments").focus()
    page.keyboard.press("Home")
    page.get_by_role("button", name="Make it again").click()
    found["finished"] = violations(page)
    page.evaluate("id => localStorage.setItem('tts_current_job_id', id)", running)
    page.reload()
    expect(page.get_by_role("heading", name="Cancelled")).to_be_visible()
    found["cancelled"] = violations(page)
    assert {view: lines for view, lines in found.items() if lines} == {}


def test_keys_alone_suffice(opened: Opener, speaking: Site) -> None:
    page = opened(speaking)
    page.get_by_role("textbox", name="Text", exact=True).wait_for()

    def tab_to(name: str, most: int = 60) -> None:
        for _ in range(most):
            page.keyboard.press("Tab")
            label = page.evaluate(
                "() => { const e = document.activeElement; return (e.getAttribute('aria-label') || e.innerText || e.id || '').trim(); }"
            )
            if re.match(name, label):
                visible = page.evaluate("() => getComputedStyle(document.activeElement).outlineStyle")
                assert visible != "none" or page.evaluate("() => document.activeElement.matches('textarea, input')"), (
                    name
                )
                return
        pytest.fail(f"Tab does not lead to {name}")

    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.innerText") == "Skip to the content"
    page.keyboard.press("Enter")
    tab_to("Text")
    page.keyboard.type("Written with keys alone. " * 100)
    page.keyboard.press("Control+Enter")
    expect(page.get_by_role("progressbar")).to_be_visible()
    tab_to("Cancel")
    page.keyboard.press("Enter")
    expect(page.get_by_role("heading", name="Cancelled")).to_be_visible()
    page.get_by_role("textbox", name="Text", exact=True).focus()
    page.keyboard.press("Control+A")
    page.keyboard.type("Short.")
    page.keyboard.press("Control+Enter")
    expect(page.get_by_role("heading", name="Finished")).to_be_visible()
    tab_to("Segments")
    page.keyboard.press("ArrowRight")
    expect(page.get_by_role("group", name="Segment 1")).to_be_visible()
    tab_to("Play")
    page.keyboard.press("Space")
    until(lambda: page.evaluate("document.getElementById('sound').currentTime") > 0.1, what="the sound")
    assert page.locator("[role=status][aria-live=polite]").inner_text().startswith("Finished")


@pytest.mark.parametrize("width", [320, 768, 1440])
def test_every_width_fits(opened: Opener, speaking: Site, width: int) -> None:
    job = speaking.enqueue("Donaudampfschifffahrtsgesellschaftskapitänsmützenabzeichenverleihung. " * 3)
    speaking.ended(job)
    page = opened(speaking, viewport={"width": width, "height": 800})
    page.evaluate("id => localStorage.setItem('tts_current_job_id', id)", job)
    for view in ("studio", "queue", "history", "voices", "settings"):
        page.goto(f"{speaking.url}/#/{view}")
        page.reload()
        page.locator("main h1, main h2").first.wait_for()
        page.wait_for_timeout(500)
        wide = page.evaluate("document.documentElement.scrollWidth - document.documentElement.clientWidth")
        assert wide <= 0, view


def test_nothing_shifts_while_progress_ticks(opened: Opener, speaking: Site) -> None:
    page = opened(speaking)
    page.get_by_role("textbox", name="Text", exact=True).fill(LONG)
    page.get_by_role("button", name="Generate").click()
    bar = page.get_by_role("progressbar")
    until(lambda: int(bar.get_attribute("aria-valuenow") or 0) >= 2, what="progress")
    page.evaluate(
        """() => {
            window.shift = 0;
            const note = list => list.getEntries().forEach(entry => { window.shift += entry.value; });
            new PerformanceObserver(note).observe({type: 'layout-shift'});
        }"""
    )
    before = int(bar.get_attribute("aria-valuenow") or 0)
    until(lambda: int(bar.get_attribute("aria-valuenow") or 0) > before + 5, what="more progress")
    assert page.evaluate("window.shift") < 0.02
    page.get_by_role("button", name="Cancel", exact=True).click()


def test_text_from_right_to_left(opened: Opener, beeping: Site) -> None:
    page = opened(beeping)
    field = page.get_by_role("textbox", name="Text", exact=True)
    field.fill("كان يا ما كان، في قديم الزمان.")
    assert field.evaluate("field => getComputedStyle(field).direction") == "rtl"
    page.get_by_role("button", name="Generate").click()
    expect(page.get_by_role("heading", name=re.compile("Finished|Failed"))).to_be_visible()


def test_reduced_motion_is_respected(opened: Opener, beeping: Site) -> None:
    page = opened(beeping, reduced_motion="reduce")
    page.locator("main h1").wait_for()
    moving = page.evaluate(
        "[...document.querySelectorAll('*')].filter(e => parseFloat(getComputedStyle(e).transitionDuration) > 0).length"
    )
    assert moving == 0


def test_first_paint_is_small_and_asks_nobody_else(opened: Opener, beeping: Site) -> None:
    page = opened(beeping, "/livez")
    sizes: dict[str, int] = {}
    foreign: list[str] = []
    session = page.context.new_cdp_session(page)
    session.send("Network.enable")
    names: dict[str, str] = {}
    session.on("Network.responseReceived", lambda event: names.update({event["requestId"]: event["response"]["url"]}))
    session.on(
        "Network.loadingFinished",
        lambda event: sizes.update({names.get(event["requestId"], "?"): event["encodedDataLength"]}),
    )
    page.on(
        "request",
        lambda request: (
            foreign.append(request.url) if not request.url.startswith((beeping.url, "data:", "blob:")) else None
        ),
    )
    answer = page.goto(beeping.url + "/")
    page.get_by_role("textbox", name="Text", exact=True).wait_for()
    page.wait_for_timeout(500)
    own = {url: size for url, size in sizes.items() if url.endswith((".js", ".css", ".svg", "/"))}
    assert len(own) >= 3
    assert sum(own.values()) < 100_000
    assert foreign == []
    assert answer is not None
    policy = answer.headers["content-security-policy"]
    assert "default-src 'none'" in policy
    assert "unsafe" not in policy
    assert answer.headers["x-content-type-options"] == "nosniff"
    asset = next(url for url in own if url.endswith(".js"))
    assert "immutable" in httpx.get(asset).headers["cache-control"]


def test_a_server_that_does_not_answer_is_said_plainly(opened: Opener, tmp_path: Path) -> None:
    site = Site(tmp_path, {"engine": {"name": "tone", "also": ""}, "limits": {"min_free_disk_mb": 0}}).start()
    page = opened(site, bypass_csp=True)
    page.route("**/session", lambda route: route.abort())
    page.reload()
    expect(page.get_by_role("heading", name="The server does not answer")).to_be_visible()
    assert violations(page) == []
    page.unroute("**/session")
    expect(page.get_by_role("textbox", name="Text", exact=True)).to_be_visible()  # by itself
    site.stop()
