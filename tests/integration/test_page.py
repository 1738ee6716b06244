"""What is served beside the API: the page built in, or one of the operator's own."""

from pathlib import Path

import httpx
import pytest

from tests.serving import serving, settings_for


async def test_a_page_of_ones_own_takes_the_place_of_ours(tmp_path: Path) -> None:
    own = tmp_path / "own"
    (own / "vendor").mkdir(parents=True)
    (own / "index.html").write_text("<h1>mine</h1>")
    (own / "script.js").write_text("1")
    (own / "styles.css").write_text("a{}")
    (own / "extra.js").write_text("2")
    (own / "vendor" / "wave.js").write_text("3")
    (tmp_path / "secret.txt").write_text("no")
    async with serving(settings_for(tmp_path, ui__directory=str(own))) as server:
        http = server.http
        assert (await http.get("/")).text == "<h1>mine</h1>"
        for path, text in {
            "/script.js": "1",
            "/styles.css": "a{}",
            "/vendor/wave.js": "3",
            "/ui/extra.js": "2",
        }.items():
            assert (await http.get(path)).text == text, path
        for path in (
            "/ui/../secret.txt",
            "/ui/%2e%2e/secret.txt",
            "/vendor/%2e%2e%2fsecret.txt",
            "/ui/.hidden",
            "/ui/none",
            "/vendor/",
        ):
            assert (await http.get(path)).status_code == 404, path


async def test_ours_has_no_other_parts_and_a_strict_policy(tmp_path: Path) -> None:
    async with serving(settings_for(tmp_path)) as server:
        for path in ("/script.js", "/ui/a.js", "/assets/none.js", "/assets/../app.py", "/nowhere"):
            answer = await server.http.get(path)
            assert (answer.status_code, answer.json()["code"]) == (404, "not_found"), path
        assert (await server.http.post("/nowhere")).status_code == 404
        page = await server.http.get("/")
        assert page.status_code == 200
        assert "'unsafe" not in page.headers["content-security-policy"]
        assert (await server.http.get("/docs")).status_code == 200


@pytest.mark.parametrize("with_keys", [False, True])
async def test_saved_files_are_served_to_those_who_may_see_all(tmp_path: Path, with_keys: bool) -> None:
    async with serving(settings_for(tmp_path, audio_output__save_to_disk=True)) as server:
        job = await server.enqueue("Keep me.")
        await server.until(job, "completed")
        (saved,) = [path for path in server.settings.paths.output.iterdir() if path.name.startswith("tts_output_")]
        headers: dict[str, str] = {}
        if with_keys:
            key = (await server.http.post("/keys", json={"name": "a", "scopes": ["admin"]})).json()["secret"]
            assert (await server.http.get(f"/outputs/{saved.name}")).status_code == 401
            headers = {"X-API-Key": key}
        answer: httpx.Response = await server.http.get(f"/outputs/{saved.name}", headers=headers)
        assert answer.content == saved.read_bytes()
        head = await server.http.head(f"/outputs/{saved.name}", headers=headers)
        assert (head.headers["content-length"], head.content) == (str(saved.stat().st_size), b"")
        assert (await server.http.get("/outputs/../ledger.db", headers=headers)).status_code == 404
