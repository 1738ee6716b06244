"""Segments made again, over real HTTP with the tone engine."""

import asyncio
import io
import wave
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import pytest_asyncio

from rhapsode.api.schemas import RedoAccepted
from tests.serving import Server, serving, settings_for

pytestmark = pytest.mark.asyncio(loop_scope="module")

TEXT = "".join(f"This is the paragraph number {n}, which has some words.\n\n" for n in range(6))
BODY: dict[str, Any] = {"text": TEXT, "predefined_voice_id": "tone-chars", "seed": 11}
SLOW: dict[str, Any] = BODY | {"predefined_voice_id": "tone-slow"}


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def server(tmp_path_factory: pytest.TempPathFactory):
    async with serving(settings_for(tmp_path_factory.mktemp("redo"))) as running:
        yield running


async def completed(server: Server, **changes: Any) -> str:
    job_id = await server.enqueue(**(BODY | changes))
    await server.until(job_id, "completed")
    return job_id


async def ask(server: Server, job_id: str, n: int, **body: Any) -> str:
    answer = await server.http.post(f"/tts/{job_id}/segments/{n}/redo", json=body)
    assert answer.status_code == 202, answer.text
    RedoAccepted.model_validate_json(answer.content)
    assert answer.json()["status"] == "completed"
    assert answer.json()["redo"]["segment"] == n
    return str(answer.json()["redo"]["job_id"])


async def redone(server: Server, job_id: str, n: int, **body: Any) -> None:
    made = await ask(server, job_id, n, **body)
    await server.until(made, "completed")


async def result(server: Server, job_id: str) -> bytes:
    answer = await server.http.get(f"/tts/{job_id}/result")
    assert answer.status_code == 200, answer.text
    return answer.content


async def segments(server: Server, job_id: str) -> list[dict[str, Any]]:
    return list((await server.http.get(f"/tts/{job_id}/segments?limit=1000")).json()["segments"])


def samples(data: bytes) -> np.ndarray[Any, np.dtype[np.int16]]:
    with wave.open(io.BytesIO(data)) as file:
        return np.frombuffer(file.readframes(file.getnframes()), np.int16)


def part(data: bytes, segment: dict[str, Any]) -> np.ndarray[Any, np.dtype[np.int16]]:
    start, end = (round(segment["audio"][name] * 22_050) for name in ("start_seconds", "end_seconds"))
    return samples(data)[start:end]


async def types(server: Server, job_id: str) -> Sequence[str]:
    text = (await server.http.get(f"/tts/{job_id}/events?after=0")).text
    return [line.removeprefix("event: ") for line in text.splitlines() if line.startswith("event: ")]


async def test_a_new_seed_changes_only_its_segment(server: Server) -> None:
    job_id = await completed(server)
    before = await server.http.get(f"/tts/{job_id}/result")
    old = await segments(server, job_id)
    await redone(server, job_id, 2)
    after = await server.http.get(f"/tts/{job_id}/result")
    new = await segments(server, job_id)
    assert after.headers["etag"] != before.headers["etag"]
    for n in range(len(old)):
        same = np.array_equal(part(before.content, old[n]), part(after.content, new[n]))
        assert same == (n != 2), n
    assert new[2]["variant"] == 1
    stale = {"Range": "bytes=0-9", "If-Range": before.headers["etag"]}
    assert (await server.http.get(f"/tts/{job_id}/result", headers=stale)).status_code == 200
    fresh = {"Range": "bytes=0-9", "If-Range": after.headers["etag"]}
    assert (await server.http.get(f"/tts/{job_id}/result", headers=fresh)).status_code == 206
    assert (await server.status(job_id))["status"] == "completed"
    assert (await types(server, job_id))[-3:] == ["job.completed", "redo.queued", "result.revised"]


async def test_another_text_moves_what_follows(server: Server) -> None:
    job_id = await completed(server)
    old = await segments(server, job_id)
    await redone(server, job_id, 1, text="  Short. ")
    new = await segments(server, job_id)
    data = await result(server, job_id)
    assert new[1]["text"] == "Short."
    shift = old[1]["audio"]["duration_seconds"] - new[1]["audio"]["duration_seconds"]
    assert shift > 0.1
    assert new[2]["audio"]["start_seconds"] == pytest.approx(old[2]["audio"]["start_seconds"] - shift, abs=0.001)
    length = new[-1]["audio"]["end_seconds"]
    assert samples(data).size == pytest.approx(length * 22_050, abs=2)
    assert (await server.http.get(f"/tts/{job_id}/text")).text == TEXT
    assert "Short." in (await server.http.get(f"/tts/{job_id}/subtitles.vtt")).text
    assert (await server.status(job_id))["audio_seconds"] == pytest.approx(
        sum(one["audio"]["duration_seconds"] for one in new), abs=0.01
    )


async def test_the_same_redo_gives_the_same_bytes(server: Server) -> None:
    twins = [await completed(server), await completed(server)]
    for job_id in twins:
        await redone(server, job_id, 3, seed=99, text="Said in other words.")
        await redone(server, job_id, 0)
    assert await result(server, twins[0]) == await result(server, twins[1])


async def test_the_first_and_the_last_segment_can_be_made_again(server: Server) -> None:
    job_id = await completed(server)
    last = len(await segments(server, job_id)) - 1
    seen = {await result(server, job_id)}
    for n in (0, last, last, 0):
        await redone(server, job_id, n)
        seen.add(await result(server, job_id))
    assert len(seen) == 5


async def test_two_at_once_both_land(server: Server) -> None:
    job_id = await completed(server, predefined_voice_id="tone-slow")
    made = await asyncio.gather(
        ask(server, job_id, 1, text="First change."), ask(server, job_id, 4, text="Second change.")
    )
    for one in made:
        await server.until(one, "completed")
    texts = [one["text"] for one in await segments(server, job_id)]
    assert (texts[1], texts[4]) == ("First change.", "Second change.")
    twin = await completed(server, predefined_voice_id="tone-slow")
    await redone(server, twin, 4, text="Second change.")
    await redone(server, twin, 1, text="First change.")
    assert await result(server, job_id) == await result(server, twin)
    assert (await types(server, job_id)).count("result.revised") == 2


async def test_the_result_can_be_read_at_every_moment(server: Server) -> None:
    job_id = await completed(server)
    done = False
    statuses: set[int] = set()
    sizes: set[bool] = set()

    async def read() -> None:
        while not done:
            answer = await server.http.get(f"/tts/{job_id}/result")
            statuses.add(answer.status_code)
            sizes.add(len(answer.content) == int(answer.headers["content-length"]))

    readers = [asyncio.create_task(read()) for _ in range(4)]
    for n in range(8):
        await redone(server, job_id, n % 6)
    done = True
    await asyncio.gather(*readers)
    assert (statuses, sizes) == ({200}, {True})


async def test_other_formats_follow(server: Server) -> None:
    job_id = await completed(server, output_format="mp3")
    before = (await server.http.get(f"/tts/{job_id}/result?format=wav")).content
    await redone(server, job_id, 2)
    after = (await server.http.get(f"/tts/{job_id}/result?format=wav")).content
    assert before != after
    assert samples(before).size == samples(after).size
    kept = [path.name for path in (server.settings.data_dir / "renditions").glob(f"{job_id}*")]
    assert kept == [f"{job_id}.2.wav"]


async def test_a_redo_is_in_no_list_but_can_be_watched_and_cancelled(server: Server) -> None:
    job_id = await completed(server, **SLOW)
    before = await result(server, job_id)
    busy = [await server.enqueue(**(SLOW | {"text": TEXT * 30, "priority": "interactive"})) for _ in range(3)]
    made = await ask(
        server, job_id, 1, text="A long change that is not spoken at once, because it has so many words in it."
    )
    again = await server.http.post(f"/tts/{job_id}/segments/1/redo")
    assert again.status_code == 409
    assert made in again.json()["detail"]
    assert made not in [job["job_id"] for job in (await server.http.get("/tts?limit=500")).json()["jobs"]]
    cancelled = await server.http.delete(f"/tts/{made}")
    if cancelled.status_code == 200:  # else it was quicker
        assert await result(server, job_id) == before
        assert (await types(server, job_id))[-1] == "redo.cancelled"
        assert (await server.http.post(f"/tts/{made}/retry")).status_code == 202
        await server.until(made, "completed")
    assert await result(server, job_id) != before
    for one in busy:
        await server.http.delete(f"/tts/{one}")


async def test_a_deleted_job_takes_its_redo_with_it(server: Server) -> None:
    job_id = await completed(server, **SLOW)
    made = await ask(server, job_id, 1)
    await server.http.delete(f"/tts/{job_id}?purge=true")
    for gone in (f"/tts/{job_id}/result", f"/tts/{made}/status", f"/tts/{made}/text", f"/tts/{made}/segments/1/audio"):
        assert (await server.http.get(gone)).status_code == 410, gone
    for path in (f"/tts/{job_id}/segments/1/redo", f"/tts/{made}/retry"):
        assert (await server.http.post(path)).status_code == 410, path
    assert not list(server.settings.job_queue.output_path.glob(f"*{job_id}*"))


async def test_a_deleted_job_takes_with_it_what_was_made_again_before(server: Server) -> None:
    job_id = await completed(server)
    made = await ask(server, job_id, 1)
    await server.until(made, "completed")
    assert (await server.http.get(f"/tts/{made}/text")).status_code == 200
    await server.http.delete(f"/tts/{job_id}?purge=true")
    for path in ("status", "text", "segments/1/audio"):
        assert (await server.http.get(f"/tts/{made}/{path}")).status_code == 410


@pytest.mark.parametrize(
    ("n", "body", "status", "named"),
    [("6", {}, 404, "segment"), ("-1", {}, 404, "segment"), ("x", {}, 404, "segment"), ("0", {"text": "  "}, 422, "text"),
     ("0", {"text": "…"}, 422, "spoken"), ("0", {"text": "x" * 500}, 422, "120"), ("0", {"text": "One.\n\nTwo."}, 422, "2 segments"),
     ("0", {"seed": -2}, 422, "seed"), ("0", {"seed": "many"}, 422, "seed")],
)  # fmt: skip
async def test_a_wrong_redo_says_why(server: Server, n: str, body: object, status: int, named: str) -> None:
    job_id = await completed(server)
    answer = await server.http.post(f"/tts/{job_id}/segments/{n}/redo", json=body)
    assert answer.status_code == status, answer.text
    assert named in answer.json()["detail"]


async def test_only_completed_jobs_have_segments_to_make_again(server: Server) -> None:
    job_id = await server.enqueue(**(SLOW | {"text": TEXT * 20}))
    assert (await server.http.post(f"/tts/{job_id}/segments/0/redo")).status_code == 409
    await server.http.delete(f"/tts/{job_id}")
    answer = await server.http.post(f"/tts/{job_id}/segments/0/redo")
    assert answer.status_code == 409
    assert "retry" in answer.json()["detail"]
    assert (await server.http.post("/tts/nonsense/segments/0/redo")).status_code == 404


async def test_a_redo_outlives_a_restart(tmp_path: Path) -> None:
    async with serving(settings_for(tmp_path)) as server:
        job_id = await completed(server, **SLOW)
        before = await result(server, job_id)
        for _ in range(3):
            await server.enqueue(**(SLOW | {"text": TEXT * 30, "priority": "interactive"}))
        made = await ask(server, job_id, 2, text="Changed just before the end.")
    async with serving(settings_for(tmp_path)) as server:
        await server.until(made, "completed")
        assert await result(server, job_id) != before
        assert (await segments(server, job_id))[2]["text"] == "Changed just before the end."
        assert (await types(server, job_id)).count("result.revised") == 1
