"""Segments, their audio, subtitles and waveforms over real HTTP with the tone engine."""

import io
import re
import wave
from itertools import pairwise
from typing import Any

import numpy as np
import pytest
import pytest_asyncio
from numpy.typing import NDArray

from tests.serving import Server, serving, settings_for

pytestmark = pytest.mark.asyncio(loop_scope="module")

TEXT = (
    "Chapter one.\n\nIt was a dark & stormy night, <b>so dark</b> that nobody saw the --> arrow over the door. "
    "قال الرجل: مرحبا بكم في بيتي.\n\nThen somebody spoke, though nobody had asked; the dog barked. The end."
)
SPEECH = {"predefined_voice_id": "tone-chars", "chunk_size": 100, "seed": 3, "output_format": "wav"}
MAGIC = {"wav": b"RIFF", "flac": b"fLaC", "opus": b"OggS", "mp3": b"", "aac": b"\xff"}
PATHS = ("segments", "segments/0/audio", "subtitles.vtt", "subtitles.srt", "peaks")
_CUE = re.compile(r"(\d+)\n(\S+) --> (\S+)\n((?:.+\n)+)\n")


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def server(tmp_path_factory):
    async with serving(settings_for(tmp_path_factory.mktemp("media"))) as running:
        yield running


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def spoken(server: Server) -> str:
    """A completed job."""
    job_id = await server.enqueue(TEXT, **SPEECH)
    await server.until(job_id, "completed")
    return job_id


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def broken(server: Server) -> str:
    """A job that failed behind its first segments."""
    job_id = await server.enqueue("One is spoken well.\n\nTwo is too.\n\nBut !raise! never.\n\nLast.", **SPEECH)
    await server.until(job_id, "failed")
    return job_id


async def samples_of(server: Server, path: str) -> tuple[NDArray[np.int16], int]:
    answer = await server.http.get(path)
    assert answer.status_code == 200, answer.text
    with wave.open(io.BytesIO(answer.content)) as file:
        return np.frombuffer(file.readframes(file.getnframes()), "<i2"), file.getframerate()


async def segments_of(server: Server, job_id: str, query: str = "limit=1000") -> list[dict[str, Any]]:
    answer = await server.http.get(f"/tts/{job_id}/segments?{query}")
    assert answer.status_code == 200, answer.text
    return list(answer.json()["segments"])


async def cues_of(server: Server, job_id: str, query: str) -> list[tuple[float, float, str]]:
    """Start, end (seconds) and text of each cue; their numbers count from 1."""
    answer = await server.http.get(f"/tts/{job_id}/{query}")
    assert answer.status_code == 200, answer.text
    head = "WEBVTT\n\n" if ".vtt" in query else ""
    assert answer.text.startswith(head)
    found = _CUE.findall(answer.text[len(head) :])
    assert [int(number) for number, *_ in found] == list(range(1, len(found) + 1))
    assert head + "".join(f"{n}\n{a} --> {b}\n{text}\n" for n, a, b, text in found) == answer.text
    return [(seconds(start), seconds(end), text) for _, start, end, text in found]


def seconds(clock: str) -> float:
    hours, minutes, rest = clock.replace(",", ".").split(":")
    return int(hours) * 3600 + int(minutes) * 60 + float(rest)


async def test_each_segment_sounds_as_its_place_in_the_result(server: Server, spoken: str):
    whole, rate = await samples_of(server, f"/tts/{spoken}/result")
    found = await segments_of(server, spoken)
    assert len(found) > 3
    for segment in found:
        audio = segment["audio"]
        start, end = round(audio["start_seconds"] * rate), round(audio["end_seconds"] * rate)
        assert audio["duration_seconds"] == pytest.approx((end - start) / rate, abs=1e-6)
        piece, piece_rate = await samples_of(server, segment["links"]["audio"])
        assert piece_rate == rate
        assert piece.any()
        assert np.array_equal(piece, whole[start:end])
    assert round(found[0]["audio"]["start_seconds"] * rate) == 0
    assert round(found[-1]["audio"]["end_seconds"] * rate) == whole.size


async def test_segments_are_the_text_page_by_page(server: Server, spoken: str):
    everything = await segments_of(server, spoken, "limit=1000&words=true")
    for segment in everything:
        assert segment["text"] == TEXT[segment["start"] : segment["end"]]
        assert segment["chars"] == len(segment["text"])
        ends = [word["end_seconds"] for word in segment["words"]]
        assert ends
        assert ends == sorted(ends)
        assert ends[-1] <= segment["audio"]["duration_seconds"]
    pages: list[dict[str, Any]] = []
    start: int | None = 0
    while start is not None:
        answer = await server.http.get(f"/tts/{spoken}/segments", params={"start": start, "limit": 2, "words": "true"})
        body = answer.json()
        assert (body["total"], body["plan_done"]) == (len(everything), True)
        assert 1 <= len(body["segments"]) <= 2
        pages += body["segments"]
        start = body["next_start"]
    assert pages == everything
    assert await segments_of(server, spoken, "status=pending") == []
    assert [s["index"] for s in await segments_of(server, spoken, "status=done&start=2&limit=1")] == [2]
    assert "words" not in (await segments_of(server, spoken))[0]


@pytest.mark.parametrize(
    ("query", "name"),
    [
        ("segments?limit=0", "limit"),
        ("segments?limit=1001", "limit"),
        ("segments?start=-1", "start"),
        ("segments?start=99999999999", "start"),
        ("segments?status=spoken", "status"),
        ("segments/0/audio?format=ogg", "format"),
        ("segments/0/audio?format=pcm", "format"),
        ("peaks?points=0", "points"),
        ("peaks?points=20001", "points"),
        ("subtitles.vtt?partial=perhaps", "partial"),
    ],
)
async def test_wrong_parameters_are_named(server: Server, spoken: str, query: str, name: str):
    answer = await server.http.get(f"/tts/{spoken}/{query}")
    assert answer.status_code == 422
    assert answer.headers["content-type"] == "application/problem+json"
    assert name in answer.json()["detail"]


@pytest.mark.parametrize("n", ["99", "999999999999999999", "-1", "x", "1.5", "%C2%B2"])
async def test_there_is_no_such_segment(server: Server, spoken: str, n: str):
    answer = await server.http.get(f"/tts/{spoken}/segments/{n}/audio")
    assert answer.status_code == 404
    assert spoken in answer.json()["detail"]


@pytest.mark.parametrize("path", PATHS)
async def test_jobs_that_are_unknown_or_deleted(server: Server, path: str):
    assert (await server.http.get(f"/tts/nonsense/{path}")).status_code == 404
    job_id = await server.enqueue("Hello.")
    await server.until(job_id, "completed")
    assert (await server.http.get(f"/tts/{job_id}/{path}")).status_code == 200
    await server.http.delete(f"/tts/{job_id}?purge=true")
    assert (await server.http.get(f"/tts/{job_id}/{path}")).status_code == 410


@pytest.mark.parametrize("name", MAGIC)
async def test_a_segment_in_every_format_with_validators_and_ranges(server: Server, spoken: str, name: str):
    url = f"/tts/{spoken}/segments/1/audio?format={name}"
    whole = await server.http.get(url)
    assert whole.status_code == 200
    assert whole.content.startswith(MAGIC[name])
    assert int(whole.headers["content-length"]) == len(whole.content) > 100
    etag = whole.headers["etag"]
    assert (await server.http.get(url, headers={"If-None-Match": etag})).status_code == 304
    for wanted, expected in [("10-19", whole.content[10:20]), ("-7", whole.content[-7:]), ("50-", whole.content[50:])]:
        part = await server.http.get(url, headers={"Range": f"bytes={wanted}", "If-Range": etag})
        assert (part.status_code, part.content) == (206, expected)
    assert (await server.http.get(url, headers={"Range": "bytes=1-2", "If-Range": '"x"'})).content == whole.content
    head = await server.http.head(url)
    assert (head.headers["content-length"], head.content) == (whole.headers["content-length"], b"")


@pytest.mark.parametrize("path", ["result", "segments/0/audio"])
async def test_a_range_outside_of_the_file_is_a_problem(server: Server, spoken: str, path: str):
    size = int((await server.http.head(f"/tts/{spoken}/{path}")).headers["content-length"])
    answer = await server.http.get(f"/tts/{spoken}/{path}", headers={"Range": f"bytes={size}-"})
    assert answer.status_code == 416
    assert answer.headers["content-range"] == f"bytes */{size}"
    assert answer.headers["content-type"] == "application/problem+json"
    assert str(size) in answer.json()["detail"]


@pytest.mark.parametrize("kind", ["vtt", "srt"])
async def test_subtitles_have_the_text_and_the_times_of_the_result(server: Server, spoken: str, kind: str):
    cues = await cues_of(server, spoken, f"subtitles.{kind}")
    shown = " ".join(text for _, _, text in cues)
    if kind == "vtt":
        assert "dark &amp; stormy" in " ".join(shown.split())
        assert "-->" not in shown
        assert "<" not in shown
        shown = shown.replace("&lt;", "<").replace("&gt;", ">").replace("&amp;", "&")
    assert shown.replace("\u200b", "").split() == TEXT.split()
    found = await segments_of(server, spoken)
    starts, ends = {start for start, _, _ in cues}, {end for _, end, _ in cues}
    for segment in found:
        assert round(segment["audio"]["start_seconds"], 3) in starts
        assert round(segment["audio"]["end_seconds"], 3) in ends
    for (start, end, text), (following, _, _) in zip(cues, [*cues[1:], (cues[-1][1], 0.0, "")], strict=True):
        assert start < end <= following
        lines = text.replace("&lt;", "<").replace("&gt;", ">").replace("&amp;", "&").replace("\u200b", "").splitlines()
        assert len(lines) <= 2
        assert max(map(len, lines)) <= 42


@pytest.mark.parametrize("points", [1, 7, 1000, 20_000])
async def test_peaks_are_those_of_the_result(server: Server, spoken: str, points: int):
    await compare_peaks(server, spoken, points)


async def compare_peaks(server: Server, job_id: str, points: int) -> None:
    whole, rate = await samples_of(server, f"/tts/{job_id}/result")
    found = (await server.http.get(f"/tts/{job_id}/peaks?points={points}")).json()
    borders = [i * whole.size // points for i in range(points + 1)]
    parts = [whole[a:b] / 32768 for a, b in pairwise(borders)]
    assert (found["points"], found["sample_rate"]) == (points, rate)
    assert found["duration_seconds"] == pytest.approx(whole.size / rate, abs=1e-6)
    assert np.allclose(found["min"], [part.min() for part in parts], rtol=0, atol=0.0006)
    assert np.allclose(found["max"], [part.max() for part in parts], rtol=0, atol=0.0006)
    assert max(found["max"]) > 0


async def test_loudness_of_the_file_is_in_its_peaks(tmp_path_factory):
    async with serving(settings_for(tmp_path_factory.mktemp("loud"), audio_output__loudness_lufs=-30.0)) as quiet:
        job_id = await quiet.enqueue(TEXT, **SPEECH)
        await quiet.until(job_id, "completed")
        await compare_peaks(quiet, job_id, 50)
        assert max((await quiet.http.get(f"/tts/{job_id}/peaks")).json()["max"]) < 0.3


@pytest.mark.parametrize("path", ["peaks?points=9", "subtitles.vtt", "subtitles.srt"])
async def test_what_is_known_is_not_sent_again(server: Server, spoken: str, path: str):
    first = await server.http.get(f"/tts/{spoken}/{path}")
    again = await server.http.get(f"/tts/{spoken}/{path}", headers={"If-None-Match": '"other"'})
    assert again.content == first.content
    same = await server.http.get(f"/tts/{spoken}/{path}", headers={"If-None-Match": first.headers["etag"]})
    assert (same.status_code, same.content) == (304, b"")


async def test_a_running_job_is_too_early_and_has_a_part(server: Server):
    job_id = await server.enqueue("Some slow words to be spoken here. " * 300, predefined_voice_id="tone-slow")
    await server.until(job_id, "running")
    for path in ("peaks", "subtitles.vtt", "subtitles.srt", "segments/80/audio"):
        early = await server.http.get(f"/tts/{job_id}/{path}")
        assert early.status_code == 425, path
        assert early.headers["retry-after"]
        assert early.headers["cache-control"] == "no-store"
    for path in ("peaks", "subtitles.vtt", "subtitles.srt"):
        part = await server.http.get(f"/tts/{job_id}/{path}?partial=true")
        assert part.status_code == 200
        assert part.headers["cache-control"] == "no-store"
        assert "etag" not in part.headers
    await server.http.delete(f"/tts/{job_id}")


async def test_of_a_failed_job_the_part_before_the_gap_is_there(server: Server, broken: str):
    found = await segments_of(server, broken)
    bad = next(segment for segment in found if "!raise!" in segment["text"])
    assert bad["audio"] is None
    assert bad["failures"] > 0
    assert bad["error"]
    before = found[: bad["index"]]
    assert before
    assert all(segment["audio"]["end_seconds"] for segment in before)
    for segment in found[bad["index"] + 1 :]:
        assert segment["audio"] is None or segment["audio"]["start_seconds"] is None
    end = before[-1]["audio"]["end_seconds"]
    cues = await cues_of(server, broken, "subtitles.vtt?partial=true")
    assert cues[-1][1] == round(end, 3)
    assert " ".join(text for *_, text in cues).split() == " ".join(segment["text"] for segment in before).split()
    assert (await server.http.get(f"/tts/{broken}/peaks?partial=true")).json()["duration_seconds"] == end
    for path in ("peaks", "subtitles.srt", f"segments/{bad['index']}/audio"):
        assert (await server.http.get(f"/tts/{broken}/{path}")).status_code == 500
    assert (await server.http.get(before[0]["links"]["audio"])).status_code == 200


async def test_sound_that_is_gone_from_the_disk_is_said_to_be_gone(server: Server):
    job_id = await server.enqueue("A sentence that nobody else has spoken.", **SPEECH)
    await server.until(job_id, "completed")
    url = f"/tts/{job_id}/segments/0/audio"
    digest = (await server.http.get(url)).headers["etag"].strip('"').partition("-")[0]
    found = [path for path in server.settings.data_dir.rglob(f"*{digest[4:]}*") if path.is_file()]
    assert len(found) == 1
    found[0].unlink()
    for path in (url, f"/tts/{job_id}/peaks"):
        assert (await server.http.get(path)).status_code == 410
    assert (await server.http.get(f"/tts/{job_id}/result")).status_code == 200


async def test_status_links_lead_there(server: Server, spoken: str):
    links = (await server.status(spoken))["links"]
    for name in ("segments", "subtitles", "peaks"):
        assert (await server.http.get(links[name])).status_code == 200
