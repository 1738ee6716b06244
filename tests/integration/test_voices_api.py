"""The library over HTTP: recordings and voices sent, heard, renamed and deleted."""

import io
from collections.abc import AsyncIterator
from pathlib import Path

import httpx
import numpy as np
import pytest

from rhapsode.engines.registry import CLONING
from rhapsode.errors import Conflict
from rhapsode.model import Voice
from tests.integration.test_never_hangs import service_in
from tests.serving import Server, serving, settings_for


@pytest.fixture
async def server(tmp_path: Path) -> AsyncIterator[Server]:
    async with serving(settings_for(tmp_path, limits__max_upload_bytes=3_000_000)) as found:
        yield found


def recording(
    seconds: float = 1.0, rate: int = 16_000, channels: int = 1, level: float = 0.3, width: int = 16
) -> bytes:
    """A WAV file with a tone in it."""
    wave = level * np.sin(2 * np.pi * 220 * np.arange(int(seconds * rate)) / rate)
    frames = np.repeat(wave[:, None], channels, axis=1)
    data = frames.astype("<f4").tobytes() if width == 32 else (frames * 32767).astype("<i2").tobytes()
    kind, block = (3, 4 * channels) if width == 32 else (1, 2 * channels)
    out = io.BytesIO()
    out.write(b"RIFF" + (36 + len(data)).to_bytes(4, "little") + b"WAVEfmt " + (16).to_bytes(4, "little"))
    out.write(kind.to_bytes(2, "little") + channels.to_bytes(2, "little") + rate.to_bytes(4, "little"))
    out.write((rate * block).to_bytes(4, "little") + block.to_bytes(2, "little") + width.to_bytes(2, "little"))
    out.write(b"data" + len(data).to_bytes(4, "little") + data)
    return out.getvalue()


async def upload(
    server: Server, *files: tuple[str, bytes], to: str = "/upload_reference", consent: str | None = None, **headers: str
) -> httpx.Response:
    said = {"consent": consent} if consent is not None else {}
    return await server.http.post(to, files=[("files", file) for file in files], data=said, headers=headers)


async def test_recordings_come_in_and_are_listed_heard_renamed_and_deleted(server: Server) -> None:
    answer = await upload(server, ("me.wav", recording()), ("Ünï 你好.WAV", recording(width=32, channels=8)))
    assert answer.status_code == 200, answer.text
    assert answer.json()["uploaded_files"] == ["me.wav", "Ünï 你好.wav"]
    assert set(answer.json()["all_reference_files"]) == {"me.wav", "Ünï 你好.wav"}
    assert answer.json()["errors"] == []
    assert (await server.http.get("/get_reference_files")).json() == ["me.wav", "Ünï 你好.wav"]
    voices = {voice["id"]: voice for voice in (await server.http.get("/voices")).json()["voices"]}
    mine = voices["reference:me.wav"]
    assert (mine["kind"], mine["editable"], mine["bytes"]) == ("reference", True, len(recording()))
    heard = await server.http.get(mine["links"]["preview"], headers={"Range": "bytes=0-3"})
    assert (heard.status_code, heard.content, heard.headers["content-type"]) == (206, b"RIFF", "audio/wav")
    renamed = await server.http.patch(mine["links"]["self"], json={"name": "myself"})
    assert renamed.json()["filename"] == "myself.wav"
    taken = await server.http.patch(renamed.json()["links"]["self"], json={"name": "Ünï 你好"})
    assert taken.status_code == 409
    assert (await server.http.delete(renamed.json()["links"]["self"])).status_code == 204
    assert (await server.http.delete(renamed.json()["links"]["self"])).status_code == 404
    assert (await server.http.get("/get_reference_files")).json() == ["Ünï 你好.wav"]


async def test_an_existing_name_counts_as_uploaded_and_is_not_overwritten(server: Server) -> None:
    await upload(server, ("me.wav", recording()))
    again = await upload(server, ("me.wav", recording(2.0)))
    assert (again.status_code, again.json()["uploaded_files"]) == (200, ["me.wav"])
    path = server.settings.tts_engine.reference_audio_path / "me.wav"
    assert path.read_bytes() == recording()


async def consent_of(server: Server, voice: str) -> tuple[str, str | None, bool]:
    found = (await server.http.get(f"/voices/{voice}")).json()
    return found["consent"], found["consent_statement"], found["consent_at"] is not None


async def test_consent_is_recorded_when_it_is_sent_and_unknown_else(server: Server) -> None:
    await upload(server, ("ann.wav", recording(1.1)), consent="I am Ann, and I agree.")
    await upload(server, ("bob.wav", recording(1.2)), consent="true")
    await upload(server, ("eve.wav", recording(1.3)))
    await upload(server, ("joe.wav", recording(1.4)), consent="no")
    assert await consent_of(server, "reference:ann.wav") == ("given", "I am Ann, and I agree.", True)
    assert await consent_of(server, "reference:bob.wav") == ("given", None, True)
    assert await consent_of(server, "reference:eve.wav") == ("unknown", None, False)
    assert await consent_of(server, "reference:joe.wav") == ("unknown", None, False)
    await server.http.patch("/voices/reference:ann.wav", json={"name": "anna"})
    assert (await consent_of(server, "reference:anna.wav"))[0] == "given"
    await upload(server, ("eve.wav", recording(1.1)), consent="true")
    assert (await consent_of(server, "reference:eve.wav"))[0] == "unknown", "said of another recording"
    await server.http.delete("/voices/reference:anna.wav")
    await upload(server, ("ann.wav", recording(1.1)))
    assert (await consent_of(server, "reference:ann.wav"))[0] == "unknown", "gone with the recording"
    assert (await server.http.get("/voices/tone")).json()["consent"] is None, "no recording"


async def test_an_engine_that_cannot_clone_names_those_that_can(server: Server) -> None:
    await upload(server, ("ann.wav", recording()))
    body = {"text": "Hello.", "voice_mode": "clone", "reference_audio_filename": "ann.wav"}
    for call in ("/tts", "/tts/enqueue", "/tts/plan"):
        refused = await server.http.post(call, json=body)
        assert (refused.status_code, refused.json()["errors"][0]["pointer"]) == (400, "/voice_mode"), call
        for name in CLONING:
            assert f"{name} (install it: rhapsode engines install " in refused.json()["detail"]
    assert (await server.http.get("/tts")).json()["jobs"] == []


@pytest.mark.parametrize(
    ("name", "data", "why"),
    [
        ("no.wav", b"", "sound|decoded"),
        ("text.mp3", b"This is no sound at all." * 50, "decoded"),
        ("cut.wav", recording()[:40], "sound|decoded"),
        ("page.html", recording(), "end with"),
        ("slow.wav", recording(rate=1), "sample rate|decoded|no sound"),
        ("long.wav", recording(40, rate=8_000), "longer than 30 s"),
        ("silent.wav", recording(level=0), "silent"),
        (".wav", recording(), "name"),
        ("../...wav", recording(), "name"),
    ],
)
async def test_what_is_no_recording_is_refused_with_its_name(server: Server, name: str, data: bytes, why: str) -> None:
    answer = await upload(server, (name, data))
    assert answer.status_code == 400
    body = answer.json()
    assert body["uploaded_files"] == []
    assert body["errors"][0]["filename"] == name
    assert any(part in body["errors"][0]["error"] for part in why.split("|")), body
    assert body["detail"]
    assert (await server.http.get("/get_reference_files")).json() == []
    folder = server.settings.tts_engine.reference_audio_path
    assert not folder.exists() or not list(folder.iterdir())


async def test_one_good_file_is_enough(server: Server) -> None:
    answer = await upload(server, ("good.wav", recording()), ("bad.wav", b"nothing"))
    assert answer.status_code == 200
    assert answer.json()["uploaded_files"] == ["good.wav"]
    assert [error["filename"] for error in answer.json()["errors"]] == ["bad.wav"]


@pytest.mark.parametrize(
    ("sent", "stored"),
    [
        ("../../etc/me.wav", "me.wav"),
        ("C:\\Users\\me.wav", "me.wav"),
        ("/tmp/me.wav", "me.wav"),
        ("con.wav", "_con.wav"),
        ("a:b|c?.wav", "a_b_c_.wav"),
        ("x" * 400 + ".wav", "x" * 180 + ".wav"),
    ],
)
async def test_names_stay_in_their_folder(server: Server, sent: str, stored: str) -> None:
    assert (await upload(server, (sent, recording()))).json()["uploaded_files"] == [stored]
    folder = server.settings.tts_engine.reference_audio_path
    assert [path.name for path in folder.iterdir()] == [stored]


async def test_forms_that_are_none_or_too_large_are_refused(server: Server) -> None:
    assert (await server.http.post("/upload_reference", json={})).status_code == 400
    assert (await server.http.post("/upload_reference", data={"files": "text"})).status_code == 400
    broken = await server.http.post(
        "/upload_reference", content=b"--x\r\n", headers={"Content-Type": "multipart/form-data; boundary=x"}
    )
    assert broken.status_code == 400
    no_boundary = await server.http.post(
        "/upload_reference", content=b"x", headers={"Content-Type": "multipart/form-data"}
    )
    assert no_boundary.status_code == 400
    assert (await upload(server, ("big.wav", b"\0" * 3_000_001))).status_code == 413

    async def pieces() -> AsyncIterator[bytes]:
        yield b'--x\r\nContent-Disposition: form-data; name="files"; filename="a.wav"\r\n\r\n'
        for _ in range(40):
            yield b"\0" * 100_000

    chunked = await server.http.post(
        "/upload_reference", content=pieces(), headers={"Content-Type": "multipart/form-data; boundary=x"}
    )
    assert chunked.status_code == 413
    foreign = await upload(server, ("me.wav", recording()), Origin="https://evil.example")
    assert foreign.status_code == 403


async def test_files_of_predefined_voices_come_in(server: Server) -> None:
    answer = await upload(
        server, ("Emily.wav", recording()), ("v.onnx", b"x"), ("v.onnx.json", b"{}"), to="/upload_predefined_voice"
    )
    assert answer.json()["uploaded_files"] == ["Emily.wav", "v.onnx", "v.onnx.json"]
    assert answer.json()["all_predefined_voices"] == (await server.http.get("/get_predefined_voices")).json()
    folder = server.settings.tts_engine.predefined_voices_path
    assert sorted(path.name for path in folder.iterdir()) == ["Emily.wav", "v.onnx", "v.onnx.json"]


async def test_a_voice_whose_name_is_anothers_but_for_the_ending_is_refused(server: Server) -> None:
    folder = server.settings.tts_engine.predefined_voices_path
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "Emily.mp3").write_bytes(b"another's voice")
    answer = await upload(server, ("Emily.wav", recording()), to="/upload_predefined_voice")
    assert answer.status_code == 400
    assert "there is already a voice 'Emily': Emily.mp3" in answer.text
    assert [path.name for path in folder.iterdir()] == ["Emily.mp3"]


async def test_a_voice_is_not_renamed_to_anothers_name_but_for_the_ending(tmp_path: Path) -> None:
    async with service_in(tmp_path) as service:
        folder = service.settings.tts_engine.predefined_voices_path
        folder.mkdir(parents=True, exist_ok=True)
        for name in ("ann.mp3", "bob.wav"):
            (folder / name).touch()
        bob = Voice("bob", "bob.wav", "bob", "en", "1", 24_000)
        with pytest.raises(Conflict, match=r"there is already a voice 'ann': ann\.mp3"):
            await service.library.rename_voice(bob, "ann")
        assert await service.library.rename_voice(bob, "eve") == "eve"
        assert sorted(path.name for path in folder.iterdir()) == ["ann.mp3", "eve.wav"]


async def test_a_voice_can_be_heard_and_leaves_no_job(server: Server) -> None:
    first = (await server.http.get("/voices")).json()["voices"][0]
    assert (first["default"], first["editable"], first["language_name"]) == (True, False, "English")
    heard = await server.http.get(first["links"]["preview"])
    assert (heard.status_code, heard.headers["content-type"]) == (200, "audio/mpeg")
    assert len(heard.content) > 1_000
    again = await server.http.get(first["links"]["preview"], headers={"If-None-Match": heard.headers["etag"]})
    assert again.status_code == 304
    assert (await server.http.get("/tts")).json()["jobs"] == []
    assert (await server.http.get("/voices/nobody/preview")).status_code == 404
    assert (await server.http.delete(first["links"]["self"])).status_code == 409


async def test_with_keys_only_an_admin_deletes(server: Server) -> None:
    await upload(server, ("me.wav", recording()))
    admin = (await server.http.post("/keys", json={"name": "a", "scopes": ["admin"]})).json()["secret"]
    key = {"Authorization": f"Bearer {admin}"}
    reader = (await server.http.post("/keys", json={"name": "r", "scopes": ["read"]}, headers=key)).json()["secret"]
    url = "/voices/reference%3Ame.wav"
    assert (await server.http.get(url)).status_code == 401
    assert (await server.http.get(url, headers={"X-API-Key": reader})).status_code == 200
    assert (await server.http.delete(url, headers={"X-API-Key": reader})).status_code == 403
    assert (await server.http.get("/api/ui/initial-data")).status_code == 401
    assert (await server.http.get("/settings", headers={"X-API-Key": reader})).status_code == 403
    assert (await server.http.delete(url, headers=key)).status_code == 204
