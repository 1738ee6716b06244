"""Clients that read or write next to nothing: what they hold up is bounded, and nobody else waits for them."""

import asyncio
import json

import pytest

from tests.faults.conftest import MakeServer
from tests.load.tools import LAZY_FILES, Head, ask, connect, probing, show, usage

EACH = 20
CHARS = 20_000
"""Of the text whose result they read: 18 MB of WAV."""
UPLOAD = 30_000_000
SENT = 200_000
SECONDS = 3.0
ROUNDS = 3
LONG_SECONDS = 120.0
MOST_BYTES = 400_000_000
"""Growth for all of them together: pieces of files that wait to be sent, what was received, and most of all what encoding for twenty
live listeners at once leaves with the allocator."""
SLOWEST_S = 30.0


@pytest.mark.timeout(120)
async def test_slow_readers_and_slow_uploads_hold_up_nobody(make_server: MakeServer, long: bool) -> None:
    server = make_server()
    async with server.running() as client:
        text = " ".join(f"Sentence {n} of a text is here." for n in range(CHARS // 30))
        job_id = await client.enqueue(text=text, predefined_voice_id="tone-chars", chunk_size=300, seed=4)
        await client.ended(job_id)
        assert len(await client.result(job_id)) > 10_000_000
        await client.ended(await client.enqueue(text="To be warm."))
        before = usage(server)
        slow = [await connect(server, small=True) for _ in range(5 * EACH)]
        readers, listeners, live, uploads, forms = (slow[n::5] for n in range(5))
        for _, writer in readers:
            await ask(writer, "GET", f"/tts/{job_id}/result")
        for _, writer in listeners:
            await ask(writer, "GET", "/events")
        for _, writer in live:
            await ask(writer, "GET", f"/tts/{job_id}/audio?format=flac")
        json_head: Head = {"Content-Type": "application/json", "Content-Length": UPLOAD}
        for _, writer in uploads:
            await ask(writer, "POST", "/tts/enqueue", json_head)
            writer.write(b'{"text": "' + b"a" * SENT)
        form: Head = {"Content-Type": "multipart/form-data; boundary=b", "Content-Length": UPLOAD}
        for _, writer in forms:
            await ask(writer, "POST", "/upload_reference", form)
            part = b'--b\r\nContent-Disposition: form-data; name="files"; filename="a.wav"\r\n\r\n'
            writer.write(part + b"\0" * SENT)
        most, rounds = 0, 0
        async with probing(server) as probe:
            begun = asyncio.get_running_loop().time()
            while rounds < ROUNDS or asyncio.get_running_loop().time() - begun < (LONG_SECONDS if long else SECONDS):
                rounds += 1
                answer = await client.http.post("/tts", json={"text": f"Others are served, {rounds}.", "seed": rounds})
                assert answer.status_code == 200
                for reader, _ in readers:
                    await reader.read(512)
                for _, writer in [*uploads, *forms]:
                    writer.write(b"a")
                most = max(most, usage(server).memory)
        for _, writer in slow:
            writer.transport.abort()
        await client.ended(await client.enqueue(text="Still here."))
        async with asyncio.timeout(20):
            while usage(server).clients > before.clients or usage(server).files > before.files + LAZY_FILES:
                await asyncio.sleep(0.05)
        stored = json.loads((await client.http.get("/tts?limit=1")).content)["jobs"]
        assert stored[0]["text_excerpt"] == "Still here.", "half of a text is no job"
        assert json.loads((await client.http.get("/get_reference_files")).content) == []
    assert most - before.memory < MOST_BYTES
    assert probe.quantile(0.99) < SLOWEST_S
    show(
        "100 slow clients",
        [
            f"memory + {(most - before.memory) / 1e6:.0f} MB",
            f"{rounds} short texts spoken meanwhile",
            f"/livez meanwhile {probe}",
        ],
    )
