"""The way of a text through the page: generate, watch, hear, reload, cancel, make again."""

import re
from pathlib import Path

from playwright.sync_api import Page, expect

from tests.browser.conftest import Opener
from tests.browser.site import Site, until

SHORT = "The harbor wakes up long before the sun does. The men carry their nets down to the boats."
LONG = " ".join(f"Number {n} of many sentences is spoken here, one after the other." for n in range(400))
SOUND = "document.getElementById('sound')"


def write(page: Page, text: str) -> None:
    """Put a text into the field."""
    page.get_by_role("textbox", name="Text", exact=True).fill(text)


def generate(page: Page, text: str) -> str:
    """Generate; the job's id, as the browser keeps it."""
    write(page, text)
    page.evaluate("localStorage.removeItem('tts_current_job_id')")
    page.get_by_role("button", name="Generate").click()
    return str(until(lambda: page.evaluate("localStorage.getItem('tts_current_job_id')"), what="the job"))


def finished(page: Page) -> None:
    """Wait for the end."""
    expect(page.get_by_role("heading", name="Finished")).to_be_visible(timeout=90_000)


def playing_at(page: Page) -> float:
    """Where the sound is, seconds."""
    return float(page.evaluate(f"{SOUND}.currentTime"))


def test_a_text_is_spoken_and_really_plays(opened: Opener, speaking: Site) -> None:
    page = opened(speaking)
    write(page, SHORT)
    expect(page.locator("#counts")).to_contain_text(f"{len(SHORT)} characters · 2 segments")
    page.get_by_role("textbox", name="Text", exact=True).press("Control+Enter")
    finished(page)
    job = page.evaluate("localStorage.getItem('tts_current_job_id')")
    length = speaking.status(job)["result"]["audio_seconds"]
    assert 3 < length < 12
    page.get_by_role("button", name="Play", exact=True).click()
    until(lambda: playing_at(page) > 0.7, what="the sound")
    assert abs(page.evaluate(f"{SOUND}.duration") - length) < 0.1
    decoded = page.evaluate(
        """async (url) => {
            const data = await (await fetch(url)).arrayBuffer();
            const audio = await new OfflineAudioContext(1, 1, 22050).decodeAudioData(data);
            const samples = audio.getChannelData(0);
            let loudest = 0;
            for (const sample of samples) loudest = Math.max(loudest, Math.abs(sample));
            return [audio.duration, loudest];
        }""",
        page.evaluate(f"{SOUND}.currentSrc"),
    )
    assert abs(decoded[0] - length) < 0.1
    assert decoded[1] > 0.1
    page.get_by_role("button", name="Pause", exact=True).click()
    stopped = playing_at(page)
    page.get_by_role("button", name="Forward 15 seconds").click()
    assert playing_at(page) > stopped
    # the text goes with the sound, and a click on it moves the sound
    lines = page.get_by_role("region", name="Text in step with the sound").get_by_role("button")
    expect(lines).to_have_count(2)
    lines.nth(1).click()
    expect(lines.nth(1)).to_have_attribute("aria-current", "true")
    assert 0 < playing_at(page) < length
    with page.expect_download() as download:
        page.get_by_role("link", name="Download WAV").click()
    assert Path(download.value.path()).read_bytes()[:4] == b"RIFF"
    assert download.value.suggested_filename.endswith(".wav")


def test_a_reload_in_the_middle_goes_on_where_it_was(opened: Opener, speaking: Site) -> None:
    page = opened(speaking)
    job = generate(page, LONG)
    bar = page.get_by_role("progressbar")
    until(lambda: int(bar.get_attribute("aria-valuenow") or 0) >= 1, what="progress")
    stored = page.evaluate("Object.keys(localStorage).filter(name => name.startsWith('tts_')).sort()")
    assert stored == ["tts_current_job_id", "tts_job_params", "tts_job_start_time"]
    page.reload()
    before = until(lambda: int(bar.get_attribute("aria-valuenow") or 0), what="progress after the reload")
    until(lambda: int(bar.get_attribute("aria-valuenow") or 0) > before, what="more progress")
    assert page.evaluate("localStorage.getItem('tts_current_job_id')") == job
    assert page.get_by_role("textbox", name="Text", exact=True).input_value() == LONG  # the draft, too
    page.get_by_role("button", name="Cancel", exact=True).click()
    expect(page.get_by_role("heading", name="Cancelled")).to_be_visible()


def test_listening_begins_before_the_end_and_goes_on(opened: Opener, speaking: Site) -> None:
    page = opened(speaking)
    job = generate(page, LONG)
    page.get_by_role("button", name="Listen").click()
    until(lambda: playing_at(page) > 1.5, what="sound while it is made")
    assert speaking.status(job)["status"] == "running"
    at = playing_at(page)
    until(lambda: playing_at(page) > at + 2, what="more sound")
    assert speaking.status(job)["status"] == "running"
    page.get_by_role("button", name=re.compile("Pause")).click()
    held = playing_at(page)
    page.wait_for_timeout(400)
    assert abs(playing_at(page) - held) < 0.2
    page.get_by_role("button", name=re.compile("Go on")).click()
    until(lambda: playing_at(page) > held + 0.3, what="sound after a pause")
    page.get_by_role("button", name="Cancel", exact=True).click()


def test_cancel_stops_the_work(opened: Opener, speaking: Site) -> None:
    page = opened(speaking)
    job = generate(page, LONG)
    until(lambda: speaking.status(job)["segments"]["done"] > 3, what="some segments")
    page.get_by_role("button", name="Cancel", exact=True).click()
    expect(page.get_by_role("heading", name="Cancelled")).to_be_visible()
    done = speaking.status(job)["segments"]["done"]
    other = speaking.enqueue(SHORT)
    assert speaking.ended(other)["status"] == "completed"  # the machine is free for it
    assert speaking.status(job)["segments"]["done"] == done
    page.get_by_role("button", name="Go on from here").click()
    expect(page.get_by_role("heading", name="Speaking")).to_be_visible()
    until(lambda: speaking.status(job)["segments"]["done"] > done, what="going on")
    page.get_by_role("button", name="Cancel", exact=True).click()
    expect(page.get_by_role("heading", name="Cancelled")).to_be_visible()


def test_a_segment_is_seen_heard_and_made_again(opened: Opener, speaking: Site) -> None:
    page = opened(speaking)
    job = generate(page, SHORT)
    finished(page)
    strip = page.get_by_role("slider", name="Segments")
    strip.focus()
    page.keyboard.press("ArrowRight")
    page.keyboard.press("ArrowRight")
    expect(strip).to_have_attribute("aria-valuetext", "segment 2 of 2, done")
    panel = page.get_by_role("group", name="Segment 2")
    expect(panel).to_contain_text("The men carry their nets")
    panel.get_by_role("button", name="Hear it").click()
    until(lambda: playing_at(page) > 0.3, what="the segment's sound")
    before = speaking.status(job)["result"]
    panel.get_by_role("button", name="Make it again").click()
    panel.get_by_role("textbox").fill("The women carry their nets up to the houses, slowly, and sing.")
    panel.get_by_role("button", name="Make it", exact=True).click()
    until(lambda: speaking.status(job)["result"]["revision"] == 2, what="the new revision")
    expect(panel).to_contain_text("The women carry their nets")
    assert speaking.status(job)["result"]["audio_seconds"] != before["audio_seconds"]
    box = strip.bounding_box()
    assert box is not None
    strip.click(position={"x": 4, "y": 10})
    expect(page.get_by_role("group", name="Segment 1")).to_contain_text("The harbor wakes up")


def test_several_tabs_agree(opened: Opener, speaking: Site) -> None:
    first = opened(speaking)
    job = generate(first, LONG)
    second = opened(speaking, context=first.context)
    expect(second.get_by_role("progressbar")).to_be_visible()
    second.get_by_role("button", name="Cancel", exact=True).click()
    expect(second.get_by_role("heading", name="Cancelled")).to_be_visible()
    first.bring_to_front()
    expect(first.get_by_role("heading", name="Cancelled")).to_be_visible()
    assert speaking.status(job)["status"] == "cancelled"


def test_what_is_wrong_with_a_request_is_said_and_the_text_stays(opened: Opener, beeping: Site) -> None:
    page = opened(beeping)
    page.get_by_role("button", name="Generate").click()
    expect(page.get_by_role("alert").filter(has_text="There is no text yet")).to_be_visible()
    write(page, "Speak like nobody.")
    page.get_by_text("Clone a voice").click()
    page.get_by_role("button", name="Generate").click()
    expect(page.get_by_role("alert").filter(has_text="reference_audio_filename")).to_be_visible()
    expect(page.get_by_role("textbox", name="Text", exact=True)).to_have_value("Speak like nobody.")


def test_presets_are_used_saved_and_deleted(opened: Opener, beeping: Site) -> None:
    page = opened(beeping)
    preset = page.get_by_role("combobox", name="Preset")
    preset.select_option(label="Calm")
    expect(page.get_by_role("textbox", name="Text", exact=True)).to_have_value(re.compile("Let your shoulders sink"))
    expect(page.get_by_role("slider", name=re.compile("Speed"))).to_have_value("0.8")
    preset.select_option(label="Save these settings…")
    page.get_by_label("Name of the preset").fill("Mine")
    page.get_by_role("button", name="Save", exact=True).click()
    page.reload()
    page.get_by_role("slider", name=re.compile("Speed")).fill("2")
    preset.select_option(label="Mine")
    expect(page.get_by_role("slider", name=re.compile("Speed"))).to_have_value("0.8")
    preset.select_option(label="Delete “Mine”")
    expect(preset.locator("option", has_text="Mine")).to_have_count(0)


def test_what_is_written_outlives_leaving_the_studio(opened: Opener, beeping: Site) -> None:
    page = opened(beeping)
    field = page.get_by_role("textbox", name="Text", exact=True)
    views = page.get_by_role("navigation", name="Views")
    field.fill("Written in haste.")
    views.get_by_role("link", name="Queue").click()  # before the draft is saved by itself
    page.get_by_role("heading", name="Queue").wait_for()
    page.wait_for_timeout(1200)  # and what was to save it would have done so by now
    views.get_by_role("link", name="Studio").click()
    expect(field).to_have_value("Written in haste.")
    # nothing was written: nothing is saved over it, however short the visit
    page.evaluate(
        """() => {
            window.saved = [];
            const put = IDBObjectStore.prototype.put;
            IDBObjectStore.prototype.put = function (...given) { window.saved.push(given[0]); return put.apply(this, given); };
        }"""
    )
    for name in ("Voices", "Studio", "Voices"):
        views.get_by_role("link", name=name).click()
    page.get_by_role("heading", name="Voices").wait_for()
    page.wait_for_timeout(1200)
    assert page.evaluate("window.saved") == []


def test_a_segment_that_cannot_be_made_again_says_so(opened: Opener, beeping: Site) -> None:
    page = opened(beeping)
    job = generate(page, SHORT)
    finished(page)
    page.get_by_role("slider", name="Segments").focus()
    page.keyboard.press("End")
    panel = page.get_by_role("group", name="Segment 2")
    panel.get_by_role("button", name="Make it again").click()
    panel.get_by_role("textbox").fill("This !raise! fails.")
    make = panel.get_by_role("button", name="Make it", exact=True)
    make.click()
    expect(page.get_by_role("alert").filter(has_text="segment 2")).to_contain_text("asked to fail by !raise!")
    expect(make).to_be_enabled()
    assert beeping.status(job)["result"]["revision"] == 1


def test_a_segment_is_made_again_without_events(opened: Opener, beeping: Site) -> None:
    job = beeping.enqueue(SHORT)
    beeping.ended(job)
    page = opened(beeping, "/livez")
    page.route("**/events*", lambda route: route.abort())
    page.evaluate("id => localStorage.setItem('tts_current_job_id', id)", job)
    page.goto(beeping.url)
    expect(page.get_by_text("Live updates are interrupted")).to_be_visible()
    page.get_by_role("slider", name="Segments").focus()
    page.keyboard.press("End")
    panel = page.get_by_role("group", name="Segment 2")
    panel.get_by_role("button", name="Make it again").click()
    panel.get_by_role("textbox").fill("The women sing.")
    panel.get_by_role("button", name="Make it", exact=True).click()
    expect(panel).to_contain_text("The women sing.")
    expect(panel.get_by_role("button", name="Make it again")).to_be_visible()


def test_the_place_in_the_queue_moves_without_events(opened: Opener, beeping: Site) -> None:
    job = beeping.enqueue(SHORT)
    beeping.ended(job)
    page = opened(beeping, "/livez")
    page.evaluate("id => localStorage.setItem('tts_current_job_id', id)", job)
    places = iter(range(50, 0, -1))
    page.route(
        "**/status",
        lambda route: route.fulfill(
            json=beeping.status(job) | {"status": "queued", "result": None, "queue_position": next(places)}
        ),
    )
    page.goto(beeping.url)
    place = page.locator(".facts div").filter(has_text="Place in the queue").locator("dd")
    first = int(place.inner_text())
    until(lambda: int(place.inner_text()) <= first - 3, what="a better place")


def test_sound_that_breaks_off_is_told_and_the_finished_file_plays(opened: Opener, beeping: Site) -> None:
    page = opened(beeping)
    page.route("**/audio?*", lambda route: route.abort())
    messages = page.get_by_role("region", name="Messages")
    job = beeping.enqueue("A sentence is spoken slowly. " * 60, predefined_voice_id="tone-slow")
    page.evaluate("id => localStorage.setItem('tts_current_job_id', id)", job)
    page.reload()
    page.get_by_role("button", name="Listen").click()
    expect(messages.get_by_role("alert")).to_have_text("The sound broke off.")
    expect(page.get_by_role("button", name="Listen")).to_be_visible()
    finished(page)
    page.get_by_role("button", name="Play", exact=True).click()
    until(lambda: playing_at(page) > 0.2, what="the finished file")


def test_a_voice_that_is_not_heard_is_none_of_the_players_business(opened: Opener, beeping: Site) -> None:
    page = opened(beeping)
    page.route("**/preview", lambda route: route.abort())
    generate(page, SHORT)
    finished(page)
    page.get_by_role("form", name="Compose").get_by_role("button", name="Hear it").click()
    expect(page.get_by_role("region", name="Messages").get_by_role("alert")).to_have_text("The sound cannot be played.")
    expect(page.get_by_role("group", name="Player").get_by_role("alert")).to_have_count(0)
    page.get_by_role("button", name="Play", exact=True).click()
    until(lambda: playing_at(page) > 0.05, what="the finished file")
