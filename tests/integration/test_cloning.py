"""Clone mode end to end: Pocket TTS's own code, on a small model of random weights, in workers with an interpreter of their own."""

import asyncio
import io
import shutil
import wave
from collections.abc import AsyncIterator
from pathlib import Path

import httpx
import numpy as np
import pytest
import pytest_asyncio

from rhapsode.settings import Settings
from tests.hosted import OFFLINE, POCKET, SMALL_MODELS
from tests.integration.test_voices_api import recording, upload
from tests.serving import Server, serving, settings_for

pytestmark = pytest.mark.asyncio(loop_scope="module")

TEXT = " ".join(
    f"Here is sentence number {word}, which is spoken by itself." for word in ("one", "two", "three", "four")
)


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return Path(shutil.copytree(SMALL_MODELS, tmp_path_factory.mktemp("models") / "cache"))


def clone_settings(folder: Path, models: Path, **changes: object) -> Settings:
    """A server that finds the engine's environment where ``rhapsode engines install pocket`` puts it."""
    (folder / "data" / "engines").mkdir(parents=True, exist_ok=True)
    place = folder / "data" / "engines" / "pocket"
    if not place.exists():
        place.symlink_to(POCKET)
    return settings_for(
        folder,
        **{
            "engine__name": "pocket",
            "engine__also": "tone",
            "paths__model_cache": str(models),
            "fleet__express_threads": -1,
            "fleet__nice": 0,
        }
        | changes,
    )


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def server(tmp_path_factory: pytest.TempPathFactory, models: Path) -> AsyncIterator[Server]:
    with pytest.MonkeyPatch.context() as patch:
        for name, value in OFFLINE.items():
            patch.setenv(name, value)
        async with serving(clone_settings(tmp_path_factory.mktemp("server"), models)) as found:
            yield found


def speaker(hertz: float) -> bytes:
    """A recording of somebody who hums, one second between two of silence."""
    rate = 16_000
    time = np.arange(rate) / rate
    sound = sum(np.sin(2 * np.pi * hertz * k * time) / k for k in range(1, 6))
    samples = np.concatenate([np.zeros(rate), 0.2 * np.asarray(sound), np.zeros(rate)])
    out = io.BytesIO()
    with wave.open(out, "wb") as file:
        file.setparams((1, 2, rate, 0, "NONE", ""))
        file.writeframes((samples * 32767).astype("<i2").tobytes())
    return out.getvalue()


async def heard(server: Server, reference: str, text: str = TEXT, **fields: object) -> np.ndarray:
    """What is heard when ``text`` is spoken with the voice of a recording."""
    job = await server.enqueue(text, voice_mode="clone", reference_audio_filename=reference, **{"seed": 7} | fields)
    status = await server.until(job, "completed", "failed", timeout_s=120)
    assert status["status"] == "completed", status
    with wave.open(io.BytesIO((await server.http.get(f"/tts/{job}/result")).content)) as file:
        assert file.getframerate() == 24_000
        return np.frombuffer(file.readframes(-1), "<i2")


def states(server: Server) -> dict[str, int]:
    """What was computed of clips: file names and inodes, which change when one is computed again."""
    folder = server.settings.data_dir / "clips"
    return {path.name: path.stat().st_ino for path in folder.glob("*.pocket-*")}


async def test_a_recording_is_heard_and_computed_once_for_all_workers_and_restarts(
    server: Server, tmp_path: Path, models: Path
) -> None:
    await upload(server, ("ann.wav", speaker(220)), ("bob.wav", speaker(110)))
    ann = await heard(server, "ann.wav")
    assert np.abs(ann).max() > 1000
    first = states(server)
    (state,) = first
    clip, _, _ = state.partition(".")
    derived = (server.settings.data_dir / "clips" / f"{clip}.wav").read_bytes()
    with wave.open(io.BytesIO(derived)) as file:
        assert (file.getframerate(), file.getnchannels()) == (24_000, 1)
        assert file.getnframes() / 24_000 == pytest.approx(1.05, abs=0.1)
    assert (server.settings.tts_engine.reference_audio_path / "ann.wav").read_bytes() == speaker(220)
    bob = await heard(server, "bob.wav")
    assert len(states(server)) == 2
    assert not np.array_equal(ann, bob)
    await upload(server, ("again.wav", speaker(220)))
    assert np.array_equal(await heard(server, "again.wav"), ann)
    async with serving(clone_settings(tmp_path, models, fleet__bulk_slots=1)) as other:
        await upload(other, ("ann.wav", speaker(220)))
        assert np.array_equal(await heard(other, "ann.wav"), ann), "P9: another server, other workers, one sound"
    assert states(server).items() >= first.items()


async def test_a_job_goes_on_when_its_recording_is_deleted(server: Server) -> None:
    await upload(server, ("ann.wav", speaker(220)))
    body = {"voice_mode": "clone", "reference_audio_filename": "ann.wav", "seed": 7}
    job = await server.enqueue(TEXT * 5, **body)
    assert (await server.http.delete("/voices/reference%3Aann.wav")).status_code == 204
    assert (await server.http.post("/tts/enqueue", json={"text": "No more."} | body)).status_code == 404
    assert (await server.until(job, "completed", "failed", timeout_s=120))["status"] == "completed"
    again = await server.http.post(f"/tts/{job}/segments/0/redo", json={})
    assert again.status_code == 202, again.text


async def test_a_cancelled_clone_stops_within_its_segments_and_can_be_taken_up_again(server: Server) -> None:
    await upload(server, ("ann.wav", speaker(220)))
    job = await server.enqueue(f"{TEXT} " * 20, voice_mode="clone", reference_audio_filename="ann.wav", seed=7)
    while not (await server.status(job))["segments"]["done"]:
        await asyncio.sleep(0.01)
    assert (await server.http.delete(f"/tts/{job}")).status_code == 200
    spoken = (await server.status(job))["segments"]["done"]
    await heard(server, "ann.wav", "Something else.")
    left = await server.status(job)
    assert left["status"] == "cancelled"
    assert left["segments"]["done"] == spoken < left["segments"]["total"]
    assert (await server.http.delete("/voices/reference:ann.wav")).status_code == 204
    assert (await server.http.post(f"/tts/{job}/retry")).status_code == 202
    assert (await server.until(job, "completed", "failed", timeout_s=120))["status"] == "completed"


async def test_what_cannot_be_cloned_is_refused_with_the_reason(server: Server) -> None:
    await upload(server, ("ann.wav", speaker(220)))
    folder = server.settings.tts_engine.reference_audio_path
    (folder / "dropped.wav").write_bytes(b"RIFF no sound at all" * 50)
    (folder / "silent.wav").write_bytes(recording(level=0))

    async def refusal(**fields: object) -> httpx.Response:
        return await server.http.post("/tts/enqueue", json={"text": "Hello.", "voice_mode": "clone"} | fields)

    missing = await refusal()
    assert (missing.status_code, missing.json()["errors"][0]["pointer"]) == (400, "/reference_audio_filename")
    unable = await refusal(reference_audio_filename="ann.wav", engine="tone")
    assert unable.status_code == 400
    assert "these can: chatterbox (install it: rhapsode engines install chatterbox)" in unable.json()["detail"]
    assert unable.json()["detail"].endswith(", pocket"), "it is here and offered"
    unknown = await refusal(reference_audio_filename="nobody.wav")
    assert unknown.status_code == 404
    assert "ann.wav" in unknown.json()["detail"]
    for name, why in (("dropped.wav", "decoded"), ("silent.wav", "silent")):
        bad = await refusal(reference_audio_filename=name)
        assert (bad.status_code, why in bad.json()["detail"]) == (400, True), bad.text


async def test_recordings_in_the_folder_of_voices_are_voices(server: Server) -> None:
    folder = server.settings.tts_engine.predefined_voices_path
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "Emily.wav").write_bytes(speaker(220))
    listed = {voice["id"]: voice for voice in (await server.http.get("/voices")).json()["voices"]}
    assert listed["Emily"]["editable"]
    assert listed["alba"]["default"]
    spoken = await server.http.post(
        "/tts", json={"text": "Hello there.", "predefined_voice_id": "Emily.wav", "seed": 3}
    )
    default = await server.http.post("/tts", json={"text": "Hello there.", "seed": 3})
    assert spoken.status_code == default.status_code == 200
    assert spoken.content != default.content


async def test_the_engine_says_what_it_can(server: Server) -> None:
    (engine,) = [one for one in (await server.http.get("/engines")).json()["engines"] if one["active"]]
    assert (engine["name"], engine["can_clone"], engine["determinism"]) == ("pocket", True, "seeded")
    assert {control["name"] for control in engine["controls"]} == {"speed_factor", "temperature"}
    assert not engine["reads_digits"], "numbers are written in words for it, in all languages"
