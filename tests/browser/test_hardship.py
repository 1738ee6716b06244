"""What is long, and what goes wrong: the page goes on."""

import re
from pathlib import Path

from playwright.sync_api import expect

from tests.browser.conftest import Opener
from tests.browser.site import Site, until
from tests.browser.test_studio import LONG, finished, generate


def test_the_server_is_killed_and_comes_back(opened: Opener, tmp_path: Path) -> None:
    site = Site(tmp_path, {"limits": {"min_free_disk_mb": 0}}).start()
    try:
        page = opened(site)
        job = generate(page, LONG)
        until(lambda: site.status(job)["segments"]["done"] > 5, what="some segments")
        site.kill()
        expect(page.get_by_text("The server does not answer just now")).to_be_visible()
        expect(page.get_by_role("progressbar")).to_be_visible()  # what was known stays
        site.start()
        expect(page.get_by_text("The server does not answer just now")).to_be_hidden(timeout=30_000)
        done = site.status(job)["segments"]["done"]
        until(lambda: site.status(job)["segments"]["done"] > done, what="going on")
        bar = page.get_by_role("progressbar")
        now = int(bar.get_attribute("aria-valuenow") or 0)
        until(lambda: int(bar.get_attribute("aria-valuenow") or 0) > now, what="progress on the page")
    finally:
        site.stop()


def test_a_failure_names_its_segment_and_a_retry_goes_on_from_there(opened: Opener, beeping: Site) -> None:
    page = opened(beeping)
    generate(
        page,
        "First it goes well, as it should in the beginning. Then it is !flaky once! for once. In the end all is well again.",
    )
    failed = page.get_by_role("alert").filter(has_text="segment")
    expect(failed).to_contain_text("flaky")
    expect(failed).to_contain_text("segment 2")  # counted as the strip counts
    expect(page.get_by_role("heading", name="Failed")).to_be_visible()
    expect(page.get_by_role("slider", name="Segments")).to_have_attribute("aria-valuetext", "segment 2 of 2, failed")
    expect(page.get_by_role("group", name="Segment 2")).to_contain_text("asked to fail")
    page.get_by_role("button", name="Retry from here").click()
    finished(page)
    assert beeping.status(page.evaluate("localStorage.getItem('tts_current_job_id')"))["run"] == 2


def test_a_job_that_is_gone_clears_what_was_kept_and_says_why(opened: Opener, beeping: Site) -> None:
    page = opened(beeping)
    job = generate(page, "Soon it is gone.")
    finished(page)
    page.request.delete(f"{beeping.url}/tts/{job}?purge=true")
    expect(page.locator(".nothing")).to_contain_text("was deleted, or has expired")
    assert page.evaluate("Object.keys(localStorage).filter(name => name.startsWith('tts_'))") == []
    page.evaluate("localStorage.setItem('tts_current_job_id', '00000000-0000-4000-8000-000000000000')")
    page.reload()
    expect(page.locator(".nothing")).to_contain_text("does not know this job any more")
    assert page.evaluate("localStorage.getItem('tts_current_job_id')") is None


def test_without_events_the_page_asks_by_itself(opened: Opener, beeping: Site) -> None:
    page = opened(beeping, "/#/voices")
    page.route("**/events*", lambda route: route.abort())
    page.reload()
    page.goto(beeping.url + "/#/studio")
    expect(page.get_by_text("Live updates are interrupted")).to_be_visible()
    generate(page, "No event will tell of this.")
    finished(page)


def test_two_megabytes_are_taken_counted_and_queued(opened: Opener, beeping: Site) -> None:
    page = opened(beeping)
    text = ("A sentence of some length stands here again and again. " * 40_000)[:2_000_000].strip()
    field = page.get_by_role("textbox", name="Text", exact=True)
    field.fill(text, timeout=120_000)
    expect(page.locator("#counts")).to_contain_text(f"{len(text):,} characters")
    expect(page.locator("#counts")).to_contain_text("about")
    job = generate(page, text)
    expect(page.get_by_role("progressbar")).to_be_visible()
    until(lambda: beeping.status(job)["segments"]["total"] > 15_000, what="the plan")
    page.get_by_role("slider", name="Segments").focus()
    page.keyboard.press("End")
    expect(page.get_by_role("group", name=re.compile("Segment \\d+"))).to_be_visible()
    page.get_by_role("button", name="Cancel", exact=True).click()
    expect(page.get_by_role("heading", name="Cancelled")).to_be_visible()
    page.reload()
    until(lambda: len(field.input_value()) == len(text), what="the draft")


def test_files_are_opened_as_they_would_be_read(opened: Opener, beeping: Site, tmp_path: Path) -> None:
    page = opened(beeping)
    (tmp_path / "tale.md").write_text("# A tale\n\nIt was **dark**.\n", encoding="utf-8")
    page.locator("input[type=file][accept*='.md']").set_input_files(tmp_path / "tale.md")
    field = page.get_by_role("textbox", name="Text", exact=True)
    expect(field).to_have_value("A tale\n\nIt was dark.\n")
    (tmp_path / "tale.pdf").write_bytes(b"%PDF")
    page.locator("input[type=file][accept*='.md']").set_input_files(tmp_path / "tale.pdf")
    expect(page.get_by_role("alert").filter(has_text="tale.pdf is no text")).to_be_visible()
    expect(field).to_have_value("A tale\n\nIt was dark.\n")
