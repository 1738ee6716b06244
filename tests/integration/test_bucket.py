"""A server whose takes, renditions and results lie in a bucket: the same answers, and patience while it is away."""

import asyncio
import io
import zipfile
from collections.abc import AsyncIterator
from pathlib import Path

import httpx
import pytest

from rhapsode.blobs.s3 import S3Blobs, S3Options
from tests.buckets import Buckets, Road
from tests.serving import Server, serving, settings_for

TEXT = "The first sentence of it. And here is the second one, which is a little longer."


@pytest.fixture
async def road(buckets: Buckets) -> AsyncIterator[Road]:
    road = Road(buckets.port)
    await road.open()
    yield road
    await road.close()


@pytest.fixture
async def server(tmp_path: Path, buckets: Buckets, road: Road) -> AsyncIterator[Server]:
    settings = settings_for(
        tmp_path,
        blobs__url=f"{buckets.url}/{tmp_path.name}",
        blobs__endpoint=road.endpoint,
        audio_output__save_to_disk=True,
    )
    async with serving(settings) as running:
        yield running


def stored(server: Server, buckets: Buckets, folder: str) -> S3Blobs:
    options = S3Options(server.settings.blobs.url, buckets.endpoint)
    return S3Blobs(options, folder, server.settings.data_dir / "looked-at")


async def names(store: S3Blobs) -> list[str]:
    return [name async for name in store.names(-60)]


async def test_results_are_answered_as_from_a_disk(server: Server, buckets: Buckets, tmp_path: Path) -> None:
    job_id = await server.enqueue(TEXT, predefined_voice_id="tone")
    await server.until(job_id, "completed")
    url = f"/tts/{job_id}/result"
    whole = await server.http.get(url)
    assert whole.status_code == 200
    assert whole.content[:4] == b"RIFF"
    size = len(whole.content)
    assert whole.headers["content-length"] == str(size)
    assert whole.headers["accept-ranges"] == "bytes"
    head = await server.http.head(url)
    assert {name: head.headers[name] for name in ("content-length", "etag", "content-disposition")} == {
        name: whole.headers[name] for name in ("content-length", "etag", "content-disposition")
    }
    for wanted, part in [
        ("bytes=10-99", slice(10, 100)),
        ("bytes=-50", slice(-50, None)),
        ("bytes=7-", slice(7, None)),
    ]:
        answer = await server.http.get(url, headers={"Range": wanted})
        assert answer.status_code == 206
        assert answer.content == whole.content[part]
        assert answer.headers["content-range"].endswith(f"/{size}")
    assert (await server.http.get(url, headers={"Range": f"bytes={size}-"})).status_code == 416
    assert (await server.http.get(url, headers={"If-None-Match": whole.headers["etag"]})).status_code == 304
    other = await server.http.get(url, params={"format": "mp3"})
    assert other.status_code == 200
    assert other.headers["content-type"] == "audio/mpeg"
    assert await names(stored(server, buckets, "renditions"))
    assert len(await names(stored(server, buckets, "takes"))) == (await server.status(job_id))["total_chunks"]
    (copy,) = server.settings.paths.output.iterdir()
    assert copy.read_bytes() == whole.content, "the user's own copy is on this machine"
    assert not (server.settings.data_dir / "takes").exists()
    assert not list((server.settings.data_dir / "uploads").rglob(".tmp-*"))
    assert (await server.http.delete(f"/tts/{job_id}", params={"purge": True})).status_code == 200
    assert await names(stored(server, buckets, "results")) == []
    assert await names(stored(server, buckets, "renditions")) == []


async def test_a_batch_is_one_archive(server: Server) -> None:
    requests = [{"text": f"Number {number}.", "predefined_voice_id": "tone"} for number in (1, 2)]
    made = (await server.http.post("/tts/batch", json={"requests": requests})).json()
    for item in made["jobs"]:
        await server.until(item["job_id"], "completed")
    answer = await server.http.get(f"/batches/{made['batch_id']}/result")
    with zipfile.ZipFile(io.BytesIO(answer.content)) as archive:
        assert archive.testzip() is None
        assert archive.namelist() == ["manifest.json", "0.wav", "1.wav"]


async def test_readers_can_be_sent_to_the_bucket(tmp_path: Path, buckets: Buckets) -> None:
    where = {"blobs__url": f"{buckets.url}/{tmp_path.name}", "blobs__endpoint": buckets.endpoint}
    async with serving(settings_for(tmp_path, blobs__redirect_sec=60, **where)) as server:
        job_id = await server.enqueue(TEXT, predefined_voice_id="tone")
        await server.until(job_id, "completed")
        sent = await server.http.get(f"/tts/{job_id}/result", follow_redirects=False)
        assert sent.status_code == 307
        assert sent.headers["location"].startswith(buckets.endpoint)
        assert (await server.http.head(f"/tts/{job_id}/result", follow_redirects=False)).status_code == 200
        async with httpx.AsyncClient() as anybody:
            fetched = await anybody.get(sent.headers["location"], headers={"Range": "bytes=0-3"})
        assert fetched.content == b"RIFF"
        assert fetched.headers["content-type"] in {"audio/wav", "audio/x-wav"}


async def test_work_waits_while_the_bucket_is_away_and_goes_on(server: Server, road: Road) -> None:
    await road.close()
    job_id = await server.enqueue(TEXT, predefined_voice_id="tone")
    async with asyncio.timeout(20):
        while not ((await server.status(job_id)).get("waiting_for") or "").startswith("storage: s3://"):
            await asyncio.sleep(0.05)
    assert (await server.http.get("/readyz")).status_code == 503
    assert (await server.http.get("/livez")).status_code == 200
    await road.open()
    done = await server.until(job_id, "completed")
    assert done["waiting_for"] is None
    segments = (await server.http.get(f"/tts/{job_id}/segments")).json()["segments"]
    assert {segment["failures"] for segment in segments} == {0}, "nobody is charged for a bucket that is away"
    url = f"/tts/{job_id}/result"
    before = await server.http.get(url)
    await road.close()
    away = await server.http.get(url)
    assert (away.status_code, away.json()["code"]) == (503, "unavailable")
    await road.open()
    assert (await server.http.get(url)).content == before.content
