"""Markup, dialogue and pronunciations over HTTP, with the tone engine: what is said can be counted in samples."""

import asyncio
import io
import json
import re
import time
import wave
from collections.abc import AsyncIterator, Awaitable
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest
import pytest_asyncio
from click.testing import CliRunner, Result

from rhapsode.cli.group import main
from rhapsode.engines.tone import CHAR_SAMPLES
from tests.serving import Server, serving, settings_for

RATE = 22_050
CHARS = {"predefined_voice_id": "tone-chars", "seed": 7}


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def server(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Server]:
    folder: Path = tmp_path_factory.mktemp("markup")
    voices = folder / "voices"
    voices.mkdir()
    (voices / "bob.tone").write_text("bob")
    async with serving(settings_for(folder, tts_engine__predefined_voices_path=voices)) as found:
        yield found


pytestmark = pytest.mark.asyncio(loop_scope="module")


async def spoken(server: Server, text: str, **fields: Any) -> tuple[np.ndarray, int, list[dict[str, Any]], str]:
    """Samples, rate and segments of a finished job, and its id."""
    job_id = await server.enqueue(text, **CHARS | fields)
    assert (await server.until(job_id, "completed", "failed"))["status"] == "completed"
    with wave.open(io.BytesIO((await server.http.get(f"/tts/{job_id}/result")).content)) as file:
        samples, rate = np.frombuffer(file.readframes(file.getnframes()), "<i2"), file.getframerate()
    segments = (await server.http.get(f"/tts/{job_id}/segments")).json()["segments"]
    return samples, rate, segments, job_id


async def test_a_pause_is_where_it_was_asked_for_to_the_sample(server: Server) -> None:
    samples, rate, segments, job_id = await spoken(server, "One two [pause 1.25s] three. [pause 0s] Four.")
    sizes = [len("One two"), len("three."), len("Four.")]
    expected = CHAR_SAMPLES * sum(sizes) + round(1.25 * RATE)
    assert (rate, samples.size) == (RATE, expected)
    starts = [round(segment["audio"]["start_seconds"] * rate) for segment in segments]
    assert starts == [0, sizes[0] * CHAR_SAMPLES + round(1.25 * RATE), expected - sizes[2] * CHAR_SAMPLES]
    assert [segment["pause_before_seconds"] for segment in segments] == [None, 1.25, 0.0]
    assert not samples[sizes[0] * CHAR_SAMPLES : starts[1]].any()
    subtitles = (await server.http.get(f"/tts/{job_id}/subtitles.vtt")).text
    assert re.findall(r"--> .*\n(.*)", subtitles) == ["One two", "three.", "Four."]
    assert f"{starts[1] / rate:.3f} -->" in subtitles
    live = await server.http.get(f"/tts/{job_id}/audio", params={"format": "pcm"})
    assert np.array_equal(np.frombuffer(live.content, "<i2"), samples)
    peaks = (await server.http.get(f"/tts/{job_id}/peaks")).json()
    assert peaks["duration_seconds"] == pytest.approx(expected / RATE, abs=1e-6)
    plan = (await server.http.post("/tts/plan", json={"text": "One two [pause 1.25s] three.", **CHARS})).json()
    assert [segment["pause_before_seconds"] for segment in plan["segments"]] == [None, 1.25]


async def test_voices_of_a_dialogue(server: Server) -> None:
    text = "[voice:tone-chars]Hello.\n[voice:bob]Hi![voice:TONE-24K] Good day.[/voice] End."
    samples, rate, segments, job_id = await spoken(server, text)
    assert [segment["voice"] for segment in segments] == ["tone-chars", "bob", "tone-24k", "tone-chars"]
    assert [segment["text"] for segment in segments] == ["Hello.", "Hi!", "Good day.", "End."]
    status = await server.status(job_id)
    assert (status["voice"], status["voices"]) == ("tone-chars", ["tone-chars", "bob", "tone-24k"])
    assert rate == 24_000, "the highest of all voices"
    pieces = [len("Hello."), len("Hi!"), len("End.")]
    durations = [segment["audio"]["duration_seconds"] for segment in segments]
    assert durations == pytest.approx(
        [pieces[0] / 50, pieces[1] / 50, 9 * CHAR_SAMPLES / 24_000, pieces[2] / 50], abs=1e-4
    )
    assert samples.size == pytest.approx(24_000 * (sum(durations) + 3 * 0.35), abs=4)
    own, _, _, _ = await spoken(server, "Hi!", predefined_voice_id="bob")
    assert own.size == CHAR_SAMPLES * 3


async def test_a_dialogue_of_one_rate_shares_takes_with_other_jobs(server: Server) -> None:
    first, _, _, _ = await spoken(server, "Shared words.", seed=99)
    _, rate, segments, job_id = await spoken(server, "Shared words. [voice:bob] Others.", seed=99)
    assert rate == RATE
    events = (await server.http.get(f"/tts/{job_id}/events")).text
    assert '"cached":true' in events.replace(" ", "")
    assert segments[0]["audio"]["duration_seconds"] == pytest.approx(first.size / RATE)


@pytest.mark.parametrize(
    ("body", "status", "place", "says"),
    [
        ({"text": "Hello\n [voice:nobody] there"}, 404, (2, 2), "there is no voice 'nobody'; there are tone"),
        ({"text": "x [voice: nobody] y"}, 404, (1, 3), "input_type plain reads brackets and tags as text"),
        ({"text": "<speak><voice name='nobody'>x</voice></speak>"}, 404, (1, 8), "there is no voice 'nobody'"),
        ({"text": "a [pause 20s]"}, 422, (1, 3), "at most 10 s"),
        ({"text": "<speak><p>x</speak>"}, 422, (1, 14), "end tag"),
        ({"text": "x", "input_type": "ssml"}, 422, (1, 1), "no XML"),
        ({"text": "<speak>&lol;</speak>"}, 422, (1, 8), "no such entity"),
    ],
)
async def test_what_is_wrong_is_said_at_submit(
    server: Server, body: dict[str, str], status: int, place: tuple[int, int], says: str
) -> None:
    for path in ("/tts", "/tts/enqueue", "/tts/plan"):
        answer = await server.http.post(path, json=body | CHARS)
        assert answer.status_code == status, answer.text
        (error,) = answer.json()["errors"]
        assert (error["pointer"], error["line"], error["column"]) == ("/text", *place)
        assert says in error["detail"]
        assert f"line {place[0]}, column {place[1]}" in answer.json()["detail"]


async def test_ssml_is_spoken_and_shown_as_text(server: Server) -> None:
    text = (
        '<speak>Ask <sub alias="the consortium">W3C</sub> &amp; go.<break time="80ms"/>'
        '<prosody rate="200%">Quickly now.</prosody><voice name="bob">Bye.</voice></speak>'
    )
    _, _, segments, job_id = await spoken(server, text)
    assert [segment["text"] for segment in segments] == ["Ask W3C & go.", "Quickly now.", "Bye."]
    assert [segment["speed"] for segment in segments] == [1.0, 2.0, 1.0]
    durations = [segment["audio"]["duration_seconds"] for segment in segments]
    assert durations == pytest.approx([len("Ask the consortium and go.") / 50, 12 / 100, 4 / 50], abs=0.03)
    resource = (await server.http.get(f"/tts/{job_id}")).json()
    assert resource["request"]["input_type"] == "ssml"
    assert (await server.http.get(f"/tts/{job_id}/text")).text == text
    redo = await server.http.post(f"/tts/{job_id}/segments/2/redo", json={"text": "Good bye [pause 1s]."})
    assert redo.status_code == 202, redo.text
    await server.until(redo.json()["redo"]["job_id"], "completed")
    again = (await server.http.get(f"/tts/{job_id}/segments?start=2")).json()["segments"][0]
    assert (again["text"], again["voice"]) == ("Good bye [pause 1s].", "bob")


async def test_plain_text_has_no_markup(server: Server) -> None:
    _, _, segments, _ = await spoken(server, "A [voice:bob] b", input_type="plain")
    assert [segment["text"] for segment in segments] == ["A [voice:bob] b"]
    samples, _, _, _ = await spoken(server, "<speak>a</speak>", input_type="text")
    assert samples.size == CHAR_SAMPLES


async def test_openai_clients_may_use_markers(server: Server) -> None:
    body = {"input": "[voice:tone-24k] One. [voice:tone-chars] Two.", "voice": "tone-chars", "response_format": "pcm"}
    answer = await server.http.post("/v1/audio/speech", json=body)
    assert answer.status_code == 200
    assert len(answer.content) // 2 == pytest.approx(24_000 * (4 * CHAR_SAMPLES / 24_000 + 0.35 + 4 / 50), abs=60)


async def test_pronunciations_of_a_job(server: Server) -> None:
    for given in ({"SQL": "sequel"}, [{"word": "SQL", "say": "sequel", "language": "en"}]):
        samples, _, segments, job_id = await spoken(server, "SQL rules.", pronunciations=given)
        assert samples.size == CHAR_SAMPLES * len("sequel rules.")
        assert segments[0]["text"] == "SQL rules."
        asked = (await server.http.get(f"/tts/{job_id}")).json()["request"]["pronunciations"]
        assert asked[0]["say"] == "sequel"
    job_id = await server.enqueue("The GIF.", **CHARS, pronunciations={"GIF": "/dʒɪf/"})
    warnings = (await server.until(job_id, "completed"))["warnings"]
    assert warnings == ["phonemes in IPA are not for this engine; spoken as written or respelled, such as GIF"]


@pytest.mark.parametrize(
    ("given", "says"),
    [
        ([{"word": "x"}], "needs say"), ([{"word": "", "say": "y"}], "at least 1 character"), ("x", "must be a list"), ([1], "entry 0"),
        ({f"w{n}": "x" for n in range(201)}, "at most 200"), ([{"word": "x", "say": "y", "colour": "red"}], "not permitted"),
        ("<lexicon>\n<oops/></lexicon>", "line 2, column 1: <oops> does not belong here"), (f"<lexicon>{' ' * 200_000}</lexicon>", "200,000"),
        ({"x": "y" * 201}, "at most 200 characters"), ({"x": 1}, "string"),
    ],
)  # fmt: skip
async def test_wrong_pronunciations_are_refused(server: Server, given: object, says: str) -> None:
    answer = await server.http.post("/tts/enqueue", json={"text": "x", "pronunciations": given} | CHARS)
    assert answer.status_code == 422
    assert says in answer.json()["detail"]
    assert answer.json()["errors"][0]["pointer"].startswith("/pronunciations")


async def test_a_job_keeps_the_dictionary_that_it_was_submitted_with(server: Server) -> None:
    words = [{"word": "SQL", "say": "sequel"}, {"word": "nginx", "say": "engine x"}]
    answer = await server.http.put("/dictionary", json={"entries": words})
    assert answer.status_code == 200, answer.text
    digest = answer.json()["digest"]
    text = "SQL and nginx here now. " * 900
    job_id = await server.enqueue(text, predefined_voice_id="tone-chars", pronunciations={"nginx": "enn jinx"})
    assert (await server.http.put("/dictionary", json={"entries": [{"word": "SQL", "say": "squeal"}]})).json()[
        "digest"
    ] != digest
    await server.until(job_id, "completed")
    found = (await server.http.get(f"/tts/{job_id}/segments", params={"limit": 1000, "words": True})).json()["segments"]
    said = [word["text"] for segment in found for word in segment["words"]]
    assert said.count("sequel") == text.count("SQL")
    assert said.count("jinx") == text.count("nginx"), "the job's own words win"
    assert "squeal" not in said
    late, _, _, _ = await spoken(server, "SQL")
    assert late.size == CHAR_SAMPLES * len("squeal")
    assert (await server.http.put("/dictionary", json={"entries": []})).json() == {
        "entries": [],
        "digest": None,
        "warnings": [],
    }


async def test_a_lexicon_is_imported(server: Server, tmp_path: Path) -> None:
    pls = (
        '<lexicon version="1.0" alphabet="ipa" xml:lang="en-US"><lexeme><grapheme>Sepulveda</grapheme><phoneme>səˈpʌlvɪdə</phoneme></lexeme>'
        "<lexeme><grapheme>W3C</grapheme><alias>the consortium</alias></lexeme></lexicon>"
    )
    answer = await server.http.post("/dictionary/import", content=pls.encode())
    assert [entry["word"] for entry in answer.json()["entries"]] == ["Sepulveda", "W3C"]
    bad = await server.http.post("/dictionary/import", content=b"<!DOCTYPE lexicon>\n<lexicon/>")
    assert bad.status_code == 422
    assert "line 1" in bad.json()["detail"]
    (tmp_path / "more.pls").write_text(pls.replace("W3C", "ACME"))

    def command(*arguments: str) -> str:
        done = CliRunner().invoke(main, ["--server", server.url, "dictionary", *arguments], catch_exceptions=False)
        assert done.exit_code == 0
        return done.output

    said = await asyncio.to_thread(command, "import", str(tmp_path / "more.pls"))
    assert "2 words were added; the dictionary has 3" in said
    shown = json.loads(await asyncio.to_thread(command, "--json"))
    assert [entry["word"] for entry in shown] == ["ACME", "Sepulveda", "W3C"]
    assert "has 4 words" in await asyncio.to_thread(command, "add", "GIF", "/dʒɪf/", "--language", "en")
    assert "has 3 words" in await asyncio.to_thread(command, "remove", "ACME")
    rows = {entry["word"]: entry for entry in (await server.http.get("/dictionary")).json()["entries"]}
    assert rows["GIF"] == {"word": "GIF", "ipa": "dʒɪf", "language": "en"}
    gone = await server.http.delete("/dictionary/ACME")
    assert (gone.status_code, gone.json()["detail"]) == (404, "the dictionary has no word 'ACME', written so")
    await server.http.put("/dictionary", json={"entries": []})


async def test_words_that_come_at_once_are_all_kept(server: Server) -> None:
    def one(number: int) -> Awaitable[httpx.Response]:
        return server.http.patch("/dictionary", json={"entries": [{"word": f"word{number}", "say": "x"}]})

    assert {answer.status_code for answer in await asyncio.gather(*map(one, range(20)))} == {200}
    assert len((await server.http.get("/dictionary")).json()["entries"]) == 20
    assert (await server.http.delete("/dictionary/word7")).json()["digest"]
    await server.http.put("/dictionary", json={"entries": []})


async def test_the_command_line_speaks_markup(server: Server, tmp_path: Path) -> None:
    out = tmp_path / "out.wav"

    def command(*arguments: str) -> Result:
        return CliRunner().invoke(
            main, ["--server", server.url, "speak", "-o", str(out), "--voice", "tone-chars", *arguments]
        )

    async def length(*arguments: str) -> int:
        done = await asyncio.to_thread(command, *arguments)
        assert done.exit_code == 0, done.output
        with wave.open(str(out)) as file:
            return int(file.getnframes())

    assert await length("--text", "One [pause 1s] two") == CHAR_SAMPLES * 6 + RATE
    assert await length("--text", "One [voice:x] two", "--input-type", "plain") > CHAR_SAMPLES * len("One two voice")
    assert await length("--ssml", "--text", "<speak>One<break time='1s'/>two</speak>") == CHAR_SAMPLES * 6 + RATE
    assert await length("--pronounce", "SQL=sequel", "--text", "SQL") == CHAR_SAMPLES * len("sequel")
    pls = tmp_path / "words.pls"
    pls.write_text("<lexicon><lexeme><grapheme>SQL</grapheme><alias>sequel</alias></lexeme></lexicon>")
    assert await length("--lexicon", str(pls), "--text", "SQL") == CHAR_SAMPLES * len("sequel")
    refused = await asyncio.to_thread(command, "--ssml", "--text", "<speak>One")
    assert refused.exit_code != 0
    assert "line 1, column 11" in str(refused.exception)
    refused = await asyncio.to_thread(command, "--pronounce", "SQL", "--text", "SQL")
    assert "SQL=sequel" in str(refused.exception)


async def test_a_segment_is_made_again_with_the_words_of_its_job(server: Server) -> None:
    await server.http.put("/dictionary", json={"entries": [{"word": "SQL", "say": "sequel"}]})
    _, _, _, job_id = await spoken(server, "One. [voice:bob] Two.", pronunciations={"nginx": "engine x"})
    await server.http.put("/dictionary", json={"entries": [{"word": "SQL", "say": "squeal!"}]})
    redo = await server.http.post(f"/tts/{job_id}/segments/1/redo", json={"text": "SQL nginx"})
    assert redo.status_code == 202, redo.text
    await server.until(redo.json()["redo"]["job_id"], "completed")
    again = (await server.http.get(f"/tts/{job_id}/segments?start=1&words=true")).json()["segments"][0]
    assert (again["voice"], [word["text"] for word in again["words"]]) == ("bob", ["sequel", "engine", "x"])
    subtitles = (await server.http.get(f"/tts/{job_id}/subtitles.vtt")).text
    assert re.findall(r"--> .*\n(.*)", subtitles) == ["One.", "SQL nginx"]
    await server.http.put("/dictionary", json={"entries": []})


async def test_a_broken_dictionary_is_told_and_the_last_good_one_stays(server: Server) -> None:
    await server.http.put("/dictionary", json={"entries": [{"word": "SQL", "say": "sequel"}]})
    file = server.settings.data_dir / "dictionary.json"
    good = file.read_text()
    file.write_text("[{")
    samples, _, _, job_id = await spoken(server, "SQL")
    assert samples.size == CHAR_SAMPLES * len("sequel")
    assert any("dictionary.json cannot be used" in warning for warning in (await server.status(job_id))["warnings"])
    assert (await server.http.post("/dictionary/import", content=b"<lexicon/>")).status_code == 409
    file.write_text(good.replace("sequel", "squeal!"))
    assert (await spoken(server, "SQL"))[0].size == CHAR_SAMPLES * len("squeal!")
    file.unlink()
    assert (await server.http.get("/dictionary")).json()["entries"] == []


async def test_language_is_told_from_the_text(server: Server) -> None:
    job_id = await server.enqueue("Der Hund und die Katze sind nicht im Haus.", **CHARS, language="auto")
    status = await server.until(job_id, "completed")
    assert status["warnings"] == ["voice 'tone-chars' speaks 'en', not 'de'"]
    job_id = await server.enqueue("The dog and the cat are in the house.", **CHARS, language="auto")
    assert (await server.until(job_id, "completed"))["warnings"] == []


async def test_megabytes_of_ssml_do_not_hold_up_the_server(server: Server) -> None:
    text = "<speak>" + "<s>The quick brown fox jumped.</s>\n" * 130_000 + "<oops/></speak>"
    slowest = 0.0

    async def watch() -> None:
        nonlocal slowest
        while True:
            began = time.perf_counter()
            await server.http.get("/livez")
            slowest = max(slowest, time.perf_counter() - began)

    watching = asyncio.create_task(watch())
    async with httpx.AsyncClient(base_url=server.url, timeout=120) as other:
        answer = await other.post("/tts/enqueue", json={"text": text} | CHARS)
    watching.cancel()
    assert answer.status_code == 422
    assert answer.json()["errors"][0]["line"] == 130_001
    assert slowest < 2
