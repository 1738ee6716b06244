"""What a text says beside its words, and who speaks it: markers, languages, engines."""

import json
import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import expect

from tests import kokoro
from tests.browser.conftest import Opener
from tests.browser.site import Site, until
from tests.browser.test_studio import finished, generate, write


@pytest.fixture(scope="module")
def two_engines(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    """The tone engine beeps, and Kokoro speaks."""
    folder = tmp_path_factory.mktemp("two-engines")
    kokoro.put_into(folder / "models")
    settings = {
        "engine": {"name": "tone", "also": "kokoro"},
        "limits": {"min_free_disk_mb": 0},
        "paths": {"model_cache": str(folder / "models")},
    }
    site = Site(folder, settings).start()
    yield site
    site.stop()


def test_what_is_wrong_with_a_text_is_said_while_it_is_written(opened: Opener, beeping: Site) -> None:
    page = opened(beeping)
    write(page, "[voice:tone-chars] Who is there?\n[voice:nobody] I.")
    expect(page.locator("#wrong")).to_contain_text("line 2, column 1: there is no voice 'nobody'; there are tone")
    write(page, "[voice:tone-chars] Who is there? [pause 2s]\n[voice:tone-24k] I.")
    expect(page.locator("#counts")).to_contain_text("2 segments")
    expect(page.locator("#wrong")).to_be_empty()
    job = generate(page, "[voice:tone-chars] Who is there? [pause 2s]\n[voice:tone-24k] I.")
    finished(page)
    assert beeping.status(job)["voices"] == ["tone", "tone-chars", "tone-24k"]
    strip = page.get_by_role("slider", name="Segments")
    strip.focus()
    strip.press("End")
    strip.press("Enter")
    expect(page.get_by_role("group", name="Segment 2")).to_contain_text("voice tone-24k")
    # brackets as text
    page.get_by_role("button", name="More settings").click()
    page.get_by_role("combobox", name="Kind of text").select_option("plain")
    plain = generate(page, "A [voice:nobody] speaks.")
    until(lambda: beeping.status(plain)["status"] == "completed", what="the end")
    assert beeping.get(f"/tts/{plain}/segments")["segments"][0]["text"] == "A [voice:nobody] speaks."


def test_an_engine_is_chosen_and_voices_and_settings_follow(opened: Opener, two_engines: Site, tmp_path: Path) -> None:
    until(
        lambda: {one["name"]: one["state"] for one in two_engines.get("/engines")["engines"]}["kokoro"] == "ready",
        what="Kokoro",
    )
    page = opened(two_engines)
    engine, voice = (
        page.get_by_role("combobox", name="Engine", exact=True),
        page.get_by_role("combobox", name="Voice", exact=True),
    )
    expect(engine).to_have_value("tone")
    expect(voice.get_by_role("option")).to_have_count(4)
    expect(page.get_by_role("slider", name=re.compile("Liveliness"))).to_be_visible()
    engine.select_option("kokoro")
    expect(voice.get_by_role("option", name="Kumo (ja, male)")).to_have_count(1)
    expect(voice.get_by_role("option", name="tone", exact=True)).to_have_count(0)
    expect(page.get_by_role("slider", name=re.compile("Liveliness"))).to_have_count(0)
    voice.select_option(kokoro.VOICE + ".bin")
    page.get_by_role("button", name="More settings").click()
    page.get_by_role("combobox", name="Language").select_option("auto")
    job = generate(page, "The cat is in the house.")
    finished(page)
    status = two_engines.status(job)
    assert (status["engine"], status["voice"]) == ("kokoro", kokoro.VOICE)
    assert two_engines.get(f"/tts/{job}")["request"]["language"] == "en"
    # the choice stays, and so does that of the other engine
    page.reload()
    expect(engine).to_have_value("kokoro")
    expect(voice).to_have_value(kokoro.VOICE + ".bin")
    engine.select_option("tone")
    expect(voice).to_have_value("tone.tone")
    job = generate(page, "Beep.")
    until(lambda: two_engines.status(job)["status"] == "completed", what="the end")
    assert two_engines.status(job)["engine"] == "tone"


def test_a_job_is_composed_and_run_anew_with_its_own_engine(opened: Opener, two_engines: Site) -> None:
    two_engines.ended(
        two_engines.enqueue("The cat is in the house.", engine="kokoro", predefined_voice_id=kokoro.VOICE)
    )
    page = opened(two_engines)
    engine = page.get_by_role("combobox", name="Engine", exact=True)
    engine.select_option("tone")
    page.goto(two_engines.url + "/#/history")
    row = page.get_by_role("region", name="History").get_by_role("listitem").filter(has_text="The cat is in").first
    row.get_by_role("button", name="Use its text and settings").click()
    expect(engine).to_have_value("kokoro")
    expect(page.get_by_role("combobox", name="Voice", exact=True)).to_have_value(kokoro.VOICE + ".bin")
    page.goto(two_engines.url + "/#/history")
    with page.expect_request("**/tts/enqueue") as asked:
        row.get_by_role("button", name="Run it again").click()
    assert json.loads(asked.value.post_data or "")["engine"] == "kokoro"


def test_words_are_taught_imported_and_forgotten(opened: Opener, beeping: Site, tmp_path: Path) -> None:
    page = opened(beeping, "/#/voices")
    words = page.get_by_role("region", name="Pronunciations")
    words.get_by_label("Word or phrase").fill("GIF")
    words.get_by_label("Spoken as").fill("/dʒɪf/")
    words.get_by_role("button", name="Add").click()
    expect(words.get_by_role("listitem")).to_have_text(["GIF/dʒɪf/"])
    expect(words.get_by_label("Word or phrase")).to_have_value("")
    words.get_by_label("Word or phrase").fill("?")
    words.get_by_label("Spoken as").fill("!")
    words.get_by_role("button", name="Add").click()
    expect(page.get_by_role("region", name="Messages")).to_contain_text("nothing that can be spoken")
    (tmp_path / "words.pls").write_text(
        "<lexicon><lexeme><grapheme>SQL</grapheme><alias>sequel</alias></lexeme></lexicon>"
    )
    with page.expect_file_chooser() as chooser:
        words.get_by_role("button", name="Import a lexicon (PLS)").click()
    chooser.value.set_files(tmp_path / "words.pls")
    expect(words.get_by_role("listitem")).to_have_text(["GIF/dʒɪf/", "SQLsequel"])
    job = beeping.enqueue("SQL", predefined_voice_id="tone-chars", speed_factor=1)  # others save a speed
    assert beeping.ended(job)["audio_seconds"] == pytest.approx(len("sequel") / 50)
    for word in ("GIF", "SQL"):
        words.get_by_role("button", name=f"Forget {word}").click()
    expect(words.get_by_text("Every word is spoken as the voice reads it.")).to_be_visible()
    assert beeping.get("/dictionary")["entries"] == []
