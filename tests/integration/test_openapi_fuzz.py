"""Everything that the OpenAPI document allows, and what it does not, against a real server: no 5xx, no hang, answers as they are described.

``RHAPSODE_FUZZ_EXAMPLES=200 pytest tests/integration/test_openapi_fuzz.py`` looks longer (minutes); CI asks a few of each call.
"""

import asyncio
import json
import os
import sys
from pathlib import Path

import pytest

from tests.faults.harness import ServerProcess

EXAMPLES = int(os.environ.get("RHAPSODE_FUZZ_EXAMPLES", "0"))
SEED = os.environ.get("RHAPSODE_FUZZ_SEED", "1")
CHECKS = ",".join(
    (
        "not_a_server_error", "status_code_conformance", "content_type_conformance", "response_headers_conformance",
        "response_schema_conformance", "negative_data_rejection", "allow_header_conformance", "unsupported_method",
    )
)  # fmt: skip
"""Not asked: that whatever fits its schema is accepted. Bounds such as "in the future" or "a public host" are in no schema."""
ENDLESS = ("/events", "/restart_server", "/api/unload")
"""A stream without an end, and what would take the engine from the other calls; tests of their own ask them."""


async def known_ids(server: ServerProcess) -> dict[str, list[str]]:
    """Jobs in every status but failed, whose result is a 500 by contract, and more of what addresses name."""
    async with server.client() as client:
        done = await client.enqueue(text="Done. And done.", seed=1, predefined_voice_id="tone-chars")
        await client.ended(done)
        cancelled = await client.enqueue(text="Slow. " * 2_000, predefined_voice_id="tone-slow")
        await client.http.delete(f"/tts/{cancelled}")
        running = await client.enqueue(text="Slow. " * 3_000, predefined_voice_id="tone-slow", priority="batch")
        batch = await client.http.post("/tts/batch", json={"requests": [{"custom_id": "a", "text": "Hello."}]})
        hook = await client.http.post("/webhooks", json={"url": "https://example.com/hook"})
        return {
            "job_id": [done, done, done, cancelled, running],
            "n": ["0", "1"],
            "batch_id": [batch.json()["batch_id"]],
            "voice_id": ["tone", "tone-chars"],
            "endpoint_id": [hook.json()["id"]],
            "model_id": ["tts-1"],
        }


@pytest.mark.timeout(120 if not EXAMPLES else 3_600)
async def test_nothing_that_can_be_sent_is_too_much(tmp_path: Path) -> None:
    server = ServerProcess(tmp_path / "server", {"auth": {"mode": "off"}, "fleet": {"express_threads": 1}})
    try:
        await server.start()
        env = {
            **os.environ,
            "RHAPSODE_KNOWN_IDS": json.dumps(await known_ids(server)),
            "SCHEMATHESIS_HOOKS": "tests.integration.openapi_hooks",
            "PYTHONWARNINGS": "ignore",
        }
        examples = ["--max-examples", str(EXAMPLES)] if EXAMPLES else ["--max-examples", "2", "--no-shrink"]
        left_out = [option for path in ENDLESS for option in ("--exclude-path", path)]
        process = await asyncio.create_subprocess_exec(
            sys.executable, "-m", "schemathesis.cli", "run", f"{server.url}/openapi.json", "--seed", SEED, "--no-color",
            "--phases", "coverage,fuzzing", "--checks", CHECKS, "--request-timeout", "30", "--warnings", "off",
            "--suppress-health-check", "all", "--continue-on-failure", *examples, *left_out,
            stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT, env=env,
            cwd=Path(__file__).parents[2],
        )  # fmt: skip
        output, _ = await process.communicate()
        (tmp_path / "report").write_bytes(output)
        assert process.returncode == 0, output.decode()[-20_000:]
        async with server.client() as client:  # it lives, and works
            await client.ended(await client.enqueue(text="Afterwards.", priority="interactive"))
        assert "Traceback" not in server.log
    finally:
        await server.put_down()
