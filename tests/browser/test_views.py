"""The other views: history, queue, voices, settings, signing in."""

import io
import re
import wave
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import httpx
import numpy as np
import pytest
from playwright.sync_api import Route, expect

from tests.browser.conftest import Opener
from tests.browser.site import Site, until


def recording() -> bytes:
    """A second of a tone, as WAV."""
    out = io.BytesIO()
    with wave.open(out, "wb") as file:
        file.setparams((1, 2, 16_000, 0, "NONE", ""))
        file.writeframes((9_000 * np.sin(np.arange(16_000) / 12)).astype("<i2").tobytes())
    return out.getvalue()


def test_history_is_searched_filtered_rerun_and_deleted(opened: Opener, beeping: Site) -> None:
    beeping.clear()
    whale = beeping.enqueue("The white whale swims.", seed=5)
    boat = beeping.enqueue("A boat lies in the harbor.")
    for job in (whale, boat):
        beeping.ended(job)
    page = opened(beeping, "/#/history")
    region = page.get_by_role("region", name="History")
    expect(region.get_by_role("listitem")).to_have_count(2)
    region.get_by_label("Search in texts and tags").fill("whale")
    expect(region.get_by_role("listitem")).to_have_count(1)
    assert page.url.endswith("#/history?q=whale")
    page.reload()
    expect(region.get_by_role("listitem")).to_have_count(1)
    region.get_by_label("Status").select_option(label="Failed")
    expect(region.get_by_text("Nothing matches.")).to_be_visible()
    region.get_by_label("Status").select_option(label="Finished")
    region.get_by_role("button", name="Run it again").click()
    expect(page.get_by_role("heading", name="Finished")).to_be_visible()
    again = page.evaluate("localStorage.getItem('tts_current_job_id')")
    assert again not in (whale, boat)
    assert (beeping.status(again)["seed"], beeping.status(whale)["seed"]) == (5, 5)
    page.goto(beeping.url + "/#/history?q=boat")
    expect(region.get_by_text("A boat lies")).to_have_count(1)
    expect(region.get_by_role("listitem")).to_have_count(1)
    page.once("dialog", lambda dialog: dialog.accept())
    region.get_by_role("button", name="Delete").click()
    expect(region.get_by_text("Nothing matches.")).to_be_visible()
    assert httpx.get(f"{beeping.url}/tts/{boat}/status").status_code == 410


def test_a_job_of_the_history_is_opened_and_composed_anew(opened: Opener, beeping: Site) -> None:
    beeping.clear()
    beeping.ended(beeping.enqueue("Open me again, please.", speed_factor=1.5))
    page = opened(beeping)
    page.get_by_role("region", name="History").get_by_role("button", name=re.compile("Open me again")).click()
    expect(page.get_by_role("heading", name="Finished")).to_be_visible()
    page.goto(beeping.url + "/#/history")
    page.get_by_role("button", name="Use its text and settings").click()
    expect(page.get_by_role("textbox", name="Text", exact=True)).to_have_value("Open me again, please.")
    expect(page.get_by_role("slider", name=re.compile("Speed"))).to_have_value("1.5")


def test_the_queue_is_put_into_another_order_and_cancelled(opened: Opener, speaking: Site) -> None:
    speaking.clear()
    long = "Many sentences wait here for their turn, one after the other. " * 200
    jobs = [speaking.enqueue(f"Job {n}. {long}", priority="batch") for n in range(3)]
    page = opened(speaking, "/#/queue")
    rows = page.get_by_role("region", name="Queue").get_by_role("listitem")
    expect(rows).to_have_count(3)
    page.get_by_label("Priority: Job 2.", exact=False).select_option(label="First")
    until(lambda: speaking.status(jobs[2])["priority"] == "interactive", what="the new priority")
    page.get_by_role("checkbox", name=re.compile("Choose: Job 0")).check()
    page.get_by_role("checkbox", name=re.compile("Choose: Job 1")).check()
    page.get_by_role("button", name="Cancel 2 jobs").click()
    expect(rows).to_have_count(1)
    assert [speaking.status(job)["status"] for job in jobs[:2]] == ["cancelled", "cancelled"]
    page.get_by_role("checkbox", name="All 1 job").check()
    page.get_by_role("button", name="Cancel 1 job").click()
    expect(page.get_by_text("Nothing runs, nothing waits.")).to_be_visible()


def test_the_queue_shows_what_runs_behind_any_number_of_those_that_wait(opened: Opener, beeping: Site) -> None:
    beeping.ended(beeping.enqueue("One of many."))
    one = beeping.get("/tts?limit=1")["jobs"][0] | {"result": None, "error": None}
    jobs = [one | {"job_id": f"{n}", "text_excerpt": f"Job {n}.", "status": "queued"} for n in range(300)]
    jobs[0]["status"] = "running"

    def listed(route: Route) -> None:
        asked = parse_qs(urlsplit(route.request.url).query)
        fitting = [job for job in reversed(jobs) if job["status"] in asked["status"]]
        start = int(asked.get("cursor", ["0"])[0])
        end = start + int(asked["limit"][0])
        route.fulfill(json={"jobs": fitting[start:end], "next_cursor": str(end) if end < len(fitting) else None})

    page = opened(beeping, "/livez")
    page.route("**/tts?*", listed)
    page.goto(beeping.url + "/#/queue")
    rows = page.get_by_role("region", name="Queue").get_by_role("listitem")
    expect(rows).to_have_count(201)
    expect(rows.first).to_contain_text("Job 0.")
    page.get_by_role("button", name="Show more").click()
    expect(rows).to_have_count(300)
    expect(page.get_by_role("button", name="Show more")).to_have_count(0)


def test_voices_are_heard(opened: Opener, speaking: Site) -> None:
    page = opened(speaking, "/#/voices")
    page.get_by_role("button", name=re.compile("Hear Joe")).click()
    until(lambda: page.evaluate("document.getElementById('sound').currentTime") > 0.5, what="the voice")
    page.get_by_role("button", name=re.compile("Stop Joe")).click()
    page.get_by_role("listitem").filter(has_text="Joe").get_by_role("button", name="Use").click()
    expect(page.get_by_role("textbox", name="Text", exact=True)).to_be_visible()


def test_a_recording_is_uploaded_renamed_chosen_and_deleted(opened: Opener, beeping: Site, tmp_path: Path) -> None:
    (tmp_path / "me.wav").write_bytes(recording())
    (tmp_path / "not.wav").write_bytes(b"no sound")
    page = opened(beeping, "/#/voices")
    page.get_by_label("agreed to being cloned").check()
    page.locator("input[data-kind=reference]").set_input_files([tmp_path / "me.wav", tmp_path / "not.wav"])
    card = page.locator("[data-voice='reference:me.wav']")
    expect(card).to_contain_text("32 kB")
    expect(card).to_contain_text("consent given")
    expect(page.get_by_role("alert").filter(has_text="not.wav")).to_be_visible()
    card.get_by_role("button", name="Rename me").click()
    page.get_by_label("New name").fill("myself")
    page.get_by_role("button", name="Rename", exact=True).click()
    card = page.locator("[data-voice='reference:myself.wav']")
    card.get_by_role("button", name="Use").click()
    expect(page.get_by_label("Recording to speak like")).to_have_value("myself.wav")
    expect(page.get_by_text("cannot clone voices")).to_be_visible()
    page.get_by_role("textbox", name="Text", exact=True).fill("Speak like me.")
    page.get_by_role("button", name="Generate").click()
    expect(page.get_by_role("alert").filter(has_text="cannot clone a voice")).to_be_visible()
    page.goto(beeping.url + "/#/voices")
    page.once("dialog", lambda dialog: dialog.accept())
    card.get_by_role("button", name="Delete myself").click()
    expect(page.get_by_text("No recording yet")).to_be_visible()


def test_what_is_typed_stays_as_it_is_typed(opened: Opener, beeping: Site) -> None:
    page = opened(beeping, "/#/settings")
    speed = page.get_by_label("Speed factor")
    speed.fill("")
    speed.press_sequentially("1.005")
    expect(speed).to_have_value("1.005")
    page.goto(beeping.url + "/#/history")
    search = page.get_by_label("Search in texts and tags")
    search.press_sequentially("wha")
    beeping.ended(beeping.enqueue("A whale comes meanwhile."))  # the list is read again
    search.press_sequentially("le", delay=200)
    expect(search).to_have_value("whale")
    page.get_by_label("Status").select_option(label="Finished")
    page.wait_for_timeout(500)
    assert page.url.endswith("#/history?q=whale&status=completed")
    search.fill("boat")
    page.get_by_label("Status").select_option(label="Failed")  # before the search is done
    page.wait_for_timeout(500)
    assert page.url.endswith("#/history?q=boat&status=failed")
    page.goto(beeping.url + "/#/history?q=other")  # from elsewhere
    expect(search).to_have_value("other")


def test_a_name_that_is_typed_outlives_the_end_of_a_sound(opened: Opener, beeping: Site, tmp_path: Path) -> None:
    (tmp_path / "me.wav").write_bytes(recording())
    page = opened(beeping, "/#/voices")
    page.locator("input[data-kind=reference]").set_input_files(tmp_path / "me.wav")
    card = page.locator("[data-voice='reference:me.wav']")
    card.get_by_role("button", name="Rename me").click()
    page.get_by_label("New name").fill("somebody")
    card.get_by_role("button", name="Hear me").click()
    card.get_by_role("button", name="Stop me").wait_for()
    card.get_by_role("button", name="Hear me").wait_for()  # a second later
    expect(page.get_by_label("New name")).to_have_value("somebody")
    page.once("dialog", lambda dialog: dialog.accept())
    card.get_by_role("button", name="Delete me").click()
    expect(card).to_have_count(0)


def test_settings_are_saved_and_wrong_ones_refused(opened: Opener, beeping: Site) -> None:
    page = opened(beeping, "/#/settings")
    page.get_by_label("Speed factor").fill("1.25")
    page.get_by_role("button", name="Save").click()
    expect(page.get_by_text("Settings saved.").first).to_be_visible()
    assert beeping.get("/api/ui/initial-data")["config"]["generation_defaults"]["speed_factor"] == 1.25
    page.get_by_label("Speed factor").fill("9")
    page.get_by_role("button", name="Save").click()
    expect(page.get_by_role("alert").filter(has_text="speed_factor")).to_be_visible()
    assert beeping.get("/api/ui/initial-data")["config"]["generation_defaults"]["speed_factor"] == 1.25
    page.get_by_role("heading", name="Fleet").click()
    expect(page.locator("[id='s-fleet.python']")).to_be_disabled()
    page.get_by_label("Bulk slots").fill("1")
    page.get_by_label("Speed factor").fill("1")
    page.get_by_role("button", name="Save").click()
    expect(page.get_by_text("Some changes wait for a restart.")).to_be_visible()
    page.get_by_role("button", name="Load it anew").click()
    expect(page.get_by_text("The engine was loaded.")).to_be_visible()


def test_a_server_with_keys_asks_for_one(opened: Opener, tmp_path: Path) -> None:
    site = Site(tmp_path, {"engine": {"name": "tone", "also": ""}, "limits": {"min_free_disk_mb": 0}}).start()
    try:
        made = httpx.post(f"{site.url}/keys", json={"name": "me", "scopes": ["admin"]})
        page = opened(site)
        key = page.get_by_label("Key")
        key.fill("rh_wrong")
        page.get_by_role("button", name="Sign in").click()
        expect(page.get_by_role("alert").filter(has_text="unknown")).to_be_visible()
        key.fill(made.json()["secret"])
        page.get_by_role("button", name="Sign in").click()
        page.get_by_role("textbox", name="Text", exact=True).fill("Now I may.")
        page.get_by_role("button", name="Generate").click()
        expect(page.get_by_role("heading", name="Finished")).to_be_visible()
        page.get_by_role("button", name="Play", exact=True).click()  # the cookie covers the sound, too
        until(lambda: page.evaluate("document.getElementById('sound').currentTime") > 0.05, what="the sound")
        page.reload()
        expect(page.get_by_role("textbox", name="Text", exact=True)).to_be_visible()
        page.get_by_role("button", name="Sign out").click()
        expect(page.get_by_role("heading", name="Sign in")).to_be_visible()
    finally:
        site.stop()


def test_below_a_path_of_a_proxy_everything_is_relative(opened: Opener, beeping: Site) -> None:
    page = opened(beeping)
    paths = page.evaluate("performance.getEntriesByType('resource').map(entry => new URL(entry.name).pathname)")
    assert paths
    html = httpx.get(beeping.url + "/").text
    assert not re.search(r'(?:src|href)="/', html)


@pytest.mark.parametrize("path", ["/docs"])
def test_the_reference_works_without_any_other_site(opened: Opener, beeping: Site, path: str) -> None:
    page = opened(beeping)
    foreign: list[str] = []
    page.on(
        "request",
        lambda request: (
            foreign.append(request.url) if not request.url.startswith((beeping.url, "data:", "blob:")) else None
        ),
    )
    page.goto(beeping.url + path)
    expect(page.get_by_text("/tts/enqueue", exact=True).first).to_be_visible()
    assert foreign == []
