"""The Python client against a real server, both of its front ends through the same calls."""

import asyncio
import io
import zipfile
from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from pathlib import Path
from typing import Any, assert_type

import pytest
import pytest_asyncio

from rhapsode import errors
from rhapsode.client import (
    AsyncClient,
    BatchItem,
    Client,
    InvalidRequest,
    JobEvent,
    JobInfo,
    Missing,
    NoLongerThere,
    QuotaUsedUp,
    ServerRefused,
    SpeechFailed,
    SpeechOptions,
    TooEarly,
    Unreachable,
    WrongStatus,
)
from rhapsode.model import JobStatus
from tests.integration.test_voices_api import recording
from tests.relay import breaking
from tests.serving import Server, serving, settings_for

pytestmark = pytest.mark.asyncio(loop_scope="module")

TEXT = "One sentence is spoken here. And here is a second one, which is a little longer. And a third."
LONG = "A sentence that goes on and on, for nobody. " * 5_000


class Front:
    """One of the two clients, called by names, from a test in an event loop."""

    def __init__(self, client: Client | AsyncClient) -> None:
        self.client = client

    async def call(self, name: str, *args: object, **kwargs: object) -> Any:
        """What the method returns."""
        method = getattr(self.client, name)
        if isinstance(self.client, AsyncClient):
            return await method(*args, **kwargs)
        return await asyncio.to_thread(method, *args, **kwargs)

    async def items(self, name: str, *args: object, **kwargs: object) -> AsyncIterator[Any]:
        """What the method gives, one by one."""
        found = getattr(self.client, name)(*args, **kwargs)
        if isinstance(self.client, AsyncClient):
            async for item in found:
                yield item
            return
        while (item := await asyncio.to_thread(next, found, None)) is not None:
            yield item


@asynccontextmanager
async def fronting(is_awaited: bool, url: str, api_key: str | None = None) -> AsyncIterator[Front]:
    if is_awaited:
        async with AsyncClient(url, api_key=api_key) as awaited:
            yield Front(awaited)
    else:
        with Client(url, api_key=api_key) as client:
            yield Front(client)


def another(front: Front, url: str, api_key: str | None = None) -> AbstractAsyncContextManager[Front]:
    """A client of the same kind."""
    return fronting(isinstance(front.client, AsyncClient), url, api_key)


@pytest_asyncio.fixture(loop_scope="module", params=[False, True], ids=["blocking", "awaiting"])
async def front(server: Server, request: pytest.FixtureRequest) -> AsyncIterator[Front]:
    async with fronting(request.param, server.url) as found:
        yield found


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def server(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Server]:
    async with serving(settings_for(tmp_path_factory.mktemp("server"))) as found:
        yield found


async def types_are_known(blocking: Client, awaiting: AsyncClient) -> None:
    """For the type checker alone."""
    assert_type(blocking.status("id"), JobInfo)
    assert_type(await awaiting.status("id"), JobInfo)
    assert_type(next(blocking.events("id", after=3)), JobEvent)
    assert_type(await anext(awaiting.events("id", after=3)), JobEvent)
    assert_type(await awaiting.submit("text", SpeechOptions(seed=1), idempotency_key="one"), str)
    blocking.submit(3)  # type: ignore[arg-type]
    blocking.wait("id", nothing=1)  # type: ignore[call-arg]


async def test_from_text_to_file_and_all_that_can_be_known_of_it(front: Front, tmp_path: Path) -> None:
    options = SpeechOptions(output_format="flac", seed=5, tags=("book", tmp_path.name))
    planned = await front.call("plan", TEXT, options)
    job_id = await front.call("submit", TEXT, options, idempotency_key=tmp_path.name)
    assert await front.call("submit", TEXT, options, idempotency_key=tmp_path.name) == job_id
    seen: list[JobInfo] = []
    done = await front.call("wait", job_id, seen.append)
    assert (done.status, done.seed, done.tags, seen[-1]) == (JobStatus.COMPLETED, 5, ("book", tmp_path.name), done)
    assert planned.totals.segments == done.segments.total
    target = tmp_path / "speech.flac"
    progress: list[tuple[int, int]] = []
    size = await front.call("download", job_id, target, lambda *both: progress.append(both))
    assert (size, progress[-1]) == (done.result.bytes, (size, size))
    assert target.read_bytes()[:4] == b"fLaC"
    assert await front.call("download", job_id, tmp_path / "a.mp3", audio_format="mp3") > 0
    assert await front.call("download_segment", job_id, 1, tmp_path / "one.wav") > 44
    segments = [segment async for segment in front.items("segments", job_id)]
    assert [segment.text.strip() for segment in segments] == [segment.text.strip() for segment in planned.segments]
    assert segments[1].audio.start_seconds > 0
    assert (await front.call("subtitles", job_id)).startswith("WEBVTT")
    assert await front.call("text", job_id) == TEXT
    found = await front.call("job", job_id)
    assert (found.request["seed"], found.text_excerpt) == (5, TEXT)
    assert (await front.call("jobs", JobStatus.COMPLETED, tags=[tmp_path.name], search="second")).jobs[
        0
    ].job_id == job_id
    assert sorted(path.name for path in tmp_path.iterdir() if path.is_file()) == ["a.mp3", "one.wav", "speech.flac"]


async def test_events_are_all_there_and_a_stream_is_the_same_sound(front: Front, server: Server) -> None:
    job_id = await front.call("submit", TEXT, SpeechOptions(seed=1))
    sound = b"".join([data async for data in front.items("stream", job_id, "pcm")])
    events = [event async for event in front.items("events", job_id)]
    assert [event.seq for event in events] == list(range(1, len(events) + 1))
    assert events[-1].type == "job.completed"
    assert all(event.job_id == job_id and event.at for event in events)
    assert [event async for event in front.items("events", job_id, after=2)] == events[2:]
    whole = (await server.http.get(f"/tts/{job_id}/result")).content
    assert whole.endswith(sound)
    assert len(whole) - len(sound) < 200  # a header
    later = b"".join([data async for data in front.items("stream", job_id, "pcm", segment=1)])
    assert whole.endswith(later)
    assert 0 < len(later) < len(sound)


async def test_all_jobs_events_go_on_behind_a_cursor(front: Front) -> None:
    news = front.items("all_events")
    waiting = asyncio.ensure_future(anext(news))
    job_id = await front.call("submit", TEXT)
    await front.call("wait", job_id)
    while not waiting.done():  # from now on: the job may have been quicker than the stream
        other = await front.call("submit", TEXT)
        await front.call("wait", other)
    first = await waiting
    assert first.cursor
    await front.call("submit", TEXT)
    second = await anext(front.items("all_events", first.cursor))
    assert second == await anext(news)
    assert second.cursor != first.cursor


async def test_a_job_is_changed_cancelled_retried_kept_remade_and_purged(front: Front, tmp_path: Path) -> None:
    job_id = await front.call("submit", LONG, SpeechOptions(priority="batch"))
    changed = await front.call("change", job_id, priority="interactive", tags=["now"])
    assert (changed.priority, changed.tags) == ("interactive", ("now",))
    with pytest.raises(TooEarly) as early:
        await front.call("download", job_id, tmp_path / "no.wav")
    assert early.value.retry_after_s > 0
    await front.call("cancel", job_id)
    assert (await front.call("wait", job_id)).status is JobStatus.CANCELLED
    with pytest.raises(NoLongerThere):
        await front.call("download", job_id, tmp_path / "no.wav")
    again = await front.call("retry", job_id)
    assert (again.run, again.status) == (2, JobStatus.QUEUED)
    await front.call("purge", job_id)
    with pytest.raises(errors.Gone):
        await front.call("status", job_id)
    short = await front.call("submit", TEXT, SpeechOptions(seed=1))
    with pytest.raises(WrongStatus):
        await front.call("retry", short)
    await front.call("wait", short)
    assert (await front.call("keep", short)).kept is True
    assert (await front.call("keep", short, forever=False)).kept is False
    made = await front.call("redo", short, 1, text="Another one.")
    await front.call("wait", made)
    assert (await front.call("status", short)).result.revision == 2
    assert not list(tmp_path.glob("*.wav"))
    assert not list(tmp_path.glob(".*"))


async def test_a_batch(front: Front, tmp_path: Path) -> None:
    items = [
        BatchItem("The first."),
        BatchItem("The second.", SpeechOptions(output_format="mp3"), "two"),
        BatchItem(""),
    ]
    batch = await front.call("submit_batch", items, tags=["all"], idempotency_key=tmp_path.name)
    assert [(job.index, job.custom_id) for job in batch.jobs] == [(0, None), (1, "two")]
    assert [(refused.index, refused.code) for refused in batch.errors] == [(2, "invalid_input")]
    done = await front.call("wait_batch", batch.batch_id)
    assert (done.status, done.request_counts.completed) == ("completed", 2)
    await front.call("download_batch", batch.batch_id, tmp_path / "all.zip")
    names = zipfile.ZipFile(io.BytesIO((tmp_path / "all.zip").read_bytes())).namelist()
    assert {"two.mp3", "manifest.json"} < set(names)
    assert await front.call("cancel_batch", batch.batch_id) == 0
    await front.call("purge_batch", batch.batch_id)


async def test_voices_and_recordings(front: Front, tmp_path: Path) -> None:
    voices = await front.call("voices")
    assert voices[0].filename == "tone.tone"
    (tmp_path / "me.wav").write_bytes(recording())
    assert await front.call("upload_recording", tmp_path / "me.wav") == "me.wav"
    assert await front.call("recordings") == ["me.wav"]
    with pytest.raises(InvalidRequest, match="cannot clone"):
        await front.call("submit", TEXT, SpeechOptions(reference_audio_filename="me.wav"))


async def test_errors_are_those_that_the_server_raised(front: Front, server: Server) -> None:
    with pytest.raises(errors.NotFound, match="nobody") as missing:
        await front.call("submit", TEXT, SpeechOptions(predefined_voice_id="nobody"))
    assert isinstance(missing.value, Missing)
    assert (missing.value.status, missing.value.code) == (404, "not_found")
    assert missing.value.request_id
    with pytest.raises(errors.InvalidInput) as wrong:
        await front.call("submit", TEXT, SpeechOptions(chunk_size=9))
    assert (wrong.value.field, wrong.value.status) == ("chunk_size", 422)
    failed = await front.call("submit", "This is !raise! bad.")
    assert (await front.call("wait", failed)).status is JobStatus.FAILED
    with pytest.raises(SpeechFailed, match="asked to fail"):
        await front.call("download", failed, "nowhere.wav")
    async with another(front, "http://127.0.0.1:9") as nowhere:
        with pytest.raises(Unreachable):
            await nowhere.call("voices")
    assert issubclass(Unreachable, errors.RhapsodeError)
    assert issubclass(ServerRefused, errors.RhapsodeError)


@pytest.mark.parametrize("is_awaited", [False, True], ids=["blocking", "awaiting"])
async def test_what_keys_do_not_grant(is_awaited: bool, tmp_path: Path) -> None:
    limits = {"name": "few", "scopes": ["read"], "limits": {"requests_per_minute": 1}}
    async with serving(settings_for(tmp_path)) as server, fronting(is_awaited, server.url) as front:
        admin = await front.call("create_key", {"name": "a", "scopes": ["admin"]})
        with pytest.raises(errors.Unauthorized):
            await front.call("voices")
        async with another(front, server.url, admin["secret"]) as with_key:
            few = await with_key.call("create_key", limits)
            renewed = await with_key.call("rotate_key", few["id"])
            assert [key["name"] for key in await with_key.call("keys")] == ["a", "few"]
            async with another(front, server.url, renewed["secret"]) as limited:
                with pytest.raises(errors.Forbidden):
                    await limited.call("submit", TEXT)
                with pytest.raises(errors.QuotaExceeded) as used_up:
                    await limited.call("voices")
            await with_key.call("revoke_key", few["id"])
    assert isinstance(used_up.value, QuotaUsedUp)
    assert used_up.value.retry_after_s > 0


async def test_a_connection_that_breaks_is_taken_up_again(front: Front, server: Server, tmp_path: Path) -> None:
    job_id = await front.call("submit", LONG[:20_000], SpeechOptions(seed=1))
    async with breaking(server.url, 600, 900, 5_000) as relay, another(front, relay.url) as shaky:
        events = [event async for event in shaky.items("events", job_id)]
    assert relay.connections >= 4
    assert [event.seq for event in events] == list(range(1, len(events) + 1))
    assert events[-1].type == "job.completed"
    async with breaking(server.url, 100_000, 200_000) as relay, another(front, relay.url) as shaky:
        size = await shaky.call("download", job_id, tmp_path / "long.wav")
    assert relay.connections == 3
    whole = (await server.http.get(f"/tts/{job_id}/result")).content
    assert (tmp_path / "long.wav").read_bytes() == whole
    assert size == len(whole)
    running = await front.call("submit", LONG)
    async with breaking(server.url, 30_000) as relay, another(front, relay.url) as shaky:
        with pytest.raises(Unreachable):
            _ = [data async for data in shaky.items("stream", running, "pcm")]
    await front.call("cancel", running)
