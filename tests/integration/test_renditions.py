"""A result in other formats over real HTTP with the tone engine."""

import asyncio
import io
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import av
import httpx
import pytest
import pytest_asyncio

from rhapsode.deliver.assemble import Assembler
from rhapsode.jobs import encoding
from tests.serving import Server, serving, settings_for

pytestmark = pytest.mark.asyncio(loop_scope="module")

BODY: dict[str, Any] = {
    "text": "It was the best of times. It was the worst of times.\n\nAnd so on. " * 12,
    "predefined_voice_id": "tone-chars",
}
TYPES = {"wav": "audio/wav", "flac": "audio/flac", "mp3": "audio/mpeg", "opus": "audio/opus", "aac": "audio/aac"}


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def server(tmp_path_factory: pytest.TempPathFactory):
    async with serving(settings_for(tmp_path_factory.mktemp("renditions"))) as running:
        yield running


async def completed(server: Server, **fields: object) -> str:
    job_id = await server.enqueue(**(BODY | {"seed": 5} | fields))
    await server.until(job_id, "completed")
    return job_id


def seconds(data: bytes) -> float:
    with av.open(io.BytesIO(data), "r") as file:
        stream = file.streams.audio[0]
        return float(sum(frame.samples for frame in file.decode(stream)) / stream.rate)


def kept(server: Server) -> list[Path]:
    return sorted((server.settings.data_dir / "renditions").iterdir())


async def until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(30):
        while not condition():
            await asyncio.sleep(0.02)


async def test_every_format_has_the_same_sound(server: Server) -> None:
    job_id = await completed(server, output_format="mp3")
    length = seconds((await server.http.get(f"/tts/{job_id}/result")).content)
    tags = set()
    for name, content_type in TYPES.items():
        answer = await server.http.get(f"/tts/{job_id}/result", params={"format": name})
        assert answer.status_code == 200, answer.text
        assert answer.headers["content-type"] == content_type
        assert answer.headers["content-disposition"].endswith(f'.{name}"')
        assert int(answer.headers["content-length"]) == len(answer.content)
        assert seconds(answer.content) == pytest.approx(length, abs=0.1)
        tags.add(answer.headers["etag"])
        again = await server.http.get(
            f"/tts/{job_id}/result?format={name}", headers={"If-None-Match": answer.headers["etag"]}
        )
        assert again.status_code == 304
    assert len(tags) == len(TYPES)
    assert len([path for path in kept(server) if path.name.startswith(job_id)]) == len(TYPES) - 1


@pytest.mark.parametrize("changes", [{}, {"audio_output__loudness_lufs": -23}])
async def test_a_rendition_is_what_the_job_would_have_been(tmp_path: Path, changes: dict[str, Any]) -> None:
    async with serving(settings_for(tmp_path, **changes)) as server:
        as_mp3, as_wav = await completed(server, output_format="mp3"), await completed(server, output_format="wav")
        wav = await server.http.get(f"/tts/{as_wav}/result")
        assert (await server.http.get(f"/tts/{as_mp3}/result?format=wav")).content == wav.content
        mp3 = await server.http.get(f"/tts/{as_mp3}/result")
        assert (await server.http.get(f"/tts/{as_wav}/result?format=mp3")).content == mp3.content


async def test_a_part_can_be_had(server: Server) -> None:
    job_id = await completed(server)
    whole = await server.http.get(f"/tts/{job_id}/result?format=flac")
    headers = {"Range": "bytes=100-199", "If-Range": whole.headers["etag"]}
    part = await server.http.get(f"/tts/{job_id}/result?format=flac", headers=headers)
    assert (part.status_code, part.content) == (206, whole.content[100:200])
    head = await server.http.head(f"/tts/{job_id}/result?format=flac")
    assert (head.status_code, head.headers["content-length"]) == (200, str(len(whole.content)))


class Counted(Assembler):
    """One that counts how many were made, and takes its time."""

    made = 0
    pause_s = 0.0

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        Counted.made += 1
        super().__init__(*args, **kwargs)

    def add(self, *args: Any) -> Any:
        time.sleep(Counted.pause_s)
        return super().add(*args)


async def test_many_who_ask_at_once_have_it_made_once(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    job_id = await completed(server)
    monkeypatch.setattr(encoding, "Assembler", Counted)
    monkeypatch.setattr(Counted, "made", 0)
    answers = await asyncio.gather(*(server.http.get(f"/tts/{job_id}/result?format=mp3") for _ in range(16)))
    assert len({answer.content for answer in answers}) == 1
    assert len({answer.headers["etag"] for answer in answers}) == 1
    assert Counted.made == 1


async def test_making_ends_when_nobody_waits_and_goes_on_while_somebody_does(
    server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    job_id = await completed(server)
    monkeypatch.setattr(encoding, "Assembler", Counted)
    monkeypatch.setattr(Counted, "made", 0)
    monkeypatch.setattr(Counted, "pause_s", 0.1)
    url = f"/tts/{job_id}/result?format=opus"
    before = kept(server)
    with pytest.raises(httpx.ReadTimeout):
        await server.http.get(url, timeout=0.5)
    await until(lambda: kept(server) == before)
    staying = asyncio.create_task(server.http.get(url))
    await asyncio.sleep(0.2)
    with pytest.raises(httpx.ReadTimeout):
        await server.http.get(url, timeout=0.3)
    assert (await staying).status_code == 200
    assert Counted.made == 2


async def test_renditions_go_with_their_job(tmp_path: Path) -> None:
    async with serving(settings_for(tmp_path, job_queue__cleanup_interval_sec=1)) as server:
        purged, stays = await completed(server), await completed(server)
        for job_id in (purged, stays):
            await server.http.get(f"/tts/{job_id}/result?format=mp3")
        await server.http.delete(f"/tts/{purged}?purge=true")
        assert [path.name for path in kept(server)] == [f"{stays}.1.mp3"]
        assert (await server.http.get(f"/tts/{purged}/result?format=mp3")).status_code == 410


async def test_renditions_expire_with_their_job(tmp_path: Path) -> None:
    settings = settings_for(tmp_path, job_queue__cleanup_interval_sec=1, job_queue__job_ttl_hours=2 / 3600)
    async with serving(settings) as server:
        job_id = await completed(server)
        assert (await server.http.get(f"/tts/{job_id}/result?format=mp3")).status_code == 200
        await server.until_gone(job_id)
        await until(lambda: not kept(server))


async def test_a_lost_take_is_told(server: Server) -> None:
    job_id = await completed(server, seed=6)
    for take in (server.settings.data_dir / "takes").glob("*/*"):
        take.unlink()
    answer = await server.http.get(f"/tts/{job_id}/result?format=flac")
    assert answer.status_code == 410
    assert "pieces" in answer.json()["detail"]
    assert (await server.http.get(f"/tts/{job_id}/result")).status_code == 200


@pytest.mark.parametrize("name", ["pcm", "ogg", "", "../x"])
async def test_an_unknown_format_names_those_there_are(server: Server, name: str) -> None:
    job_id = await completed(server)
    answer = await server.http.get(f"/tts/{job_id}/result", params={"format": name})
    assert answer.status_code == 422
    assert "mp3" in answer.json()["detail"]


async def test_an_unfinished_job_has_no_other_format_either(server: Server) -> None:
    job_id = await server.enqueue("A long sentence that takes a while. " * 300, predefined_voice_id="tone-slow")
    assert (await server.http.get(f"/tts/{job_id}/result?format=mp3")).status_code == 425
    await server.http.delete(f"/tts/{job_id}")
    assert (await server.http.get(f"/tts/{job_id}/result?format=mp3")).status_code == 410
