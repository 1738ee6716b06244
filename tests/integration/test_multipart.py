"""Forms that are no forms, uploads that are no sound: each gets its 4xx at once, and nothing stays behind."""

import asyncio
import os
from pathlib import Path

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.serving import serving, settings_for
from tests.unit.audio.test_probe import encoded, floats, pcm, tone

BOUNDARY = b"----b"
PIECE = st.sampled_from(
    [
        b"--", BOUNDARY, b"--" + BOUNDARY, b"--" + BOUNDARY + b"--", b"\r\n", b"\n", b"\r\n\r\n", b'; filename="a.wav"', b'; filename="../a.wav"',
        b"Content-Disposition: form-data", b'; name="files"', b"Content-Type: audio/wav", b"Content-Transfer-Encoding: base64", b"\x00", b"x" * 9_000,
        b'; filename*=UTF-8\'\'%2e%2e%2fa.wav', b'; filename="', b": ", b'Content-Disposition: form-data; name="files"; filename="b.wav"\r\n\r\n',
    ]
)  # fmt: skip


def leftovers() -> set[str]:
    folder = Path(os.environ.get("TMPDIR", "/tmp"))
    return {path.name for path in folder.glob("rhapsode-upload-*")}


async def test_any_bytes_are_answered(tmp_path: Path) -> None:
    """Property: whatever is sent as a form gets a 4xx with a problem, or says of each file why it was refused."""
    async with serving(settings_for(tmp_path)) as server:
        loop = asyncio.get_running_loop()

        @settings(max_examples=60, deadline=None, suppress_health_check=list(HealthCheck))
        @given(st.lists(PIECE | st.binary(max_size=30), max_size=12).map(b"".join), st.booleans())
        def send(body: bytes, whole: bool) -> None:
            data = b"--" + BOUNDARY + b"\r\n" + body + b"\r\n--" + BOUNDARY + b"--\r\n" if whole else body
            headers = {"Content-Type": f"multipart/form-data; boundary={BOUNDARY.decode()}"}
            sending = server.http.post("/upload_reference", content=data, headers=headers, timeout=20)
            answer = asyncio.run_coroutine_threadsafe(sending, loop).result()
            assert answer.status_code == 400, answer.text
            assert answer.json()["detail"]

        await asyncio.to_thread(send)
        assert not list(server.settings.tts_engine.reference_audio_path.glob("*"))


async def test_wrong_content_under_a_right_name_is_refused_and_the_rest_is_taken(tmp_path: Path) -> None:
    files = {
        "empty.wav": b"", "image.mp3": b"\x89PNG\r\n\x1a\n" + bytes(500), "one-hertz.wav": pcm(rate=1),
        "program.exe": pcm(), "playlist.mp3": b"#EXTM3U\n#EXTINF:1,\n/etc/passwd\n",
    }  # fmt: skip
    good = {"float.wav": floats(tone()), "../../../plain.mp3": encoded("libmp3lame", "mp3", 1)}
    before = leftovers()
    async with serving(settings_for(tmp_path)) as server:
        form = [("files", (name, data)) for name, data in (files | good).items()]
        answer = await server.http.post("/upload_reference", files=form)
        assert answer.status_code == 200
        assert {error["filename"] for error in answer.json()["errors"]} == set(files)
        assert str(tmp_path) not in answer.text
        assert answer.json()["uploaded_files"] == ["float.wav", "plain.mp3"]
        there = sorted(path.name for path in server.settings.tts_engine.reference_audio_path.iterdir())
        assert there == ["float.wav", "plain.mp3"]
    assert leftovers() <= before
