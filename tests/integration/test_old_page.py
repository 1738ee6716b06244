"""The page of Chatterbox TTS Server: each request that its script makes, in its order, and each field that it reads of the answers.

The installation is moved over as it is: its ``config.yaml``, ``voices/``, ``reference_audio/`` and its own ``ui/``.
"""

import asyncio
import shutil
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
import pytest
import pytest_asyncio

from rhapsode.config import load_settings
from tests.integration.test_voices_api import recording
from tests.serving import QUICK, Server, serving

pytestmark = pytest.mark.asyncio(loop_scope="module")

OLD = Path(__file__).parents[1] / "fixtures" / "old_server"
SECRET = "correct-horse-battery"
UI = {
    "index.html": '<script src="vendor/wavesurfer.min.js"></script><link href="styles.css"><script src="script.js"></script>',
    "script.js": "// theirs",
    "styles.css": "/* theirs */",
    "vendor/wavesurfer.min.js": "// vendor",
    "logo.svg": "<svg/>",
}


@dataclass
class Browser:
    """Asks as the page does; what it was told is remembered."""

    server: Server
    home: Path
    told: list[str] = field(default_factory=list)

    async def fetch(self, method: str, path: str, status: int = 200, **given: Any) -> httpx.Response:
        answer = await self.server.http.request(method, path, headers={"Origin": self.server.url}, **given)
        self.told.append(answer.text if "audio" not in answer.headers.get("content-type", "") else "")
        assert answer.status_code == status, answer.text
        return answer

    async def get(self, path: str) -> Any:
        return (await self.fetch("GET", path)).json()

    async def post(self, path: str, body: object = None, status: int = 200) -> Any:
        given = {} if body is None else {"json": body}
        return (await self.fetch("POST", path, status, **given)).json()

    @property
    def config(self) -> str:
        return (self.home / "config.yaml").read_text(encoding="utf-8")


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def browser(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Browser]:
    home = tmp_path_factory.mktemp("old")
    shutil.copy(OLD / "config.yaml", home)
    for folder, names in {
        "voices": ("Emily.wav", "Michael.wav"),
        "reference_audio": ("Gianna.wav", "Robert.mp3.wav"),
    }.items():
        (home / folder).mkdir()
        for name in names:
            (home / folder / name).write_bytes(recording())
    for name, text in UI.items():
        (home / "ui" / name).parent.mkdir(parents=True, exist_ok=True)
        (home / "ui" / name).write_text(text)
    overrides = dict(QUICK) | {"ui.directory": str(home / "ui")}
    loaded = load_settings(home / "config.yaml", home / "data", env={}, overrides=overrides)
    async with serving(loaded) as server:
        yield Browser(server, home)


async def test_its_files_are_served_in_place_of_ours(browser: Browser) -> None:
    page = await browser.fetch("GET", "/")
    assert page.text == UI["index.html"]
    assert page.headers["content-type"].startswith("text/html")
    kinds = {
        "/script.js": "text/javascript",
        "/styles.css": "text/css",
        "/vendor/wavesurfer.min.js": "text/javascript",
        "/ui/logo.svg": "image/svg",
    }
    for path, kind in kinds.items():
        part = await browser.fetch("GET", path)
        assert part.headers["content-type"].startswith(kind)
        assert part.text == UI[path.removeprefix("/ui").strip("/")]
    for path in ("/ui/../config.yaml", "/ui/%2e%2e/config.yaml", "/vendor/../../config.yaml", "/ui/nothing.js"):
        await browser.fetch("GET", path, 404)
    assert (await browser.get("/openapi.json"))["info"]["title"] == "Rhapsode"
    assert "./assets" not in (await browser.fetch("GET", "/docs")).text  # it has its own parts


async def test_all_that_it_reads_at_its_start(browser: Browser) -> None:
    data = await browser.get("/api/ui/initial-data")
    config, state = data["config"], data["config"]["ui_state"]
    assert (config["ui"]["title"], config["ui"]["show_language_select"]) == ("Reading room", True)
    assert (config["server"]["host"], isinstance(config["server"]["port"], int)) == ("0.0.0.0", True)
    assert config["tts_engine"] | {"device": "auto", "default_voice_id": "Emily.wav"} == config["tts_engine"]
    assert config["tts_engine"]["predefined_voices_path"] == "voices"
    assert config["tts_engine"]["reference_audio_path"] == "reference_audio"
    assert config["paths"] == {"model_cache": "model_cache", "output": "outputs"}
    assert (
        config["audio_output"] | {"format": "wav", "sample_rate": 24000, "save_to_disk": True} == config["audio_output"]
    )
    defaults = {
        "temperature": 0.8,
        "exaggeration": 1.3,
        "cfg_weight": 0.5,
        "seed": 0,
        "speed_factor": 1.0,
        "language": "en",
    }
    assert config["generation_defaults"] == defaults
    assert state == {
        "last_text": '[gasp] "Doors open", she said.\nNobody moved.', "last_voice_mode": "predefined", "last_predefined_voice": "Emily.wav",
        "last_reference_file": "Gianna.wav", "last_seed": 3000, "last_chunk_size": 240, "last_split_text_enabled": True,
        "hide_chunk_warning": False, "hide_generation_warning": True, "theme": "light", "last_preset_name": "⚡ Turbo: Escape Room Panic",
    }  # fmt: skip
    assert config["initial_gen_result"]["outputUrl"] is None
    assert data["reference_files"] == ["Gianna.wav", "Robert.mp3.wav"]
    assert all(voice["display_name"] and voice["filename"] for voice in data["predefined_voices"])
    for preset in data["presets"]:
        assert isinstance(preset["name"], str)
        known = {
            "temperature",
            "exaggeration",
            "cfg_weight",
            "speed_factor",
            "seed",
            "language",
            "voice_id",
            "reference_audio_filename",
        }
        assert set(preset.get("params", {})) <= known
    model = data["model_info"]
    assert (model["type"], model["loaded"]) == ("original", True)
    assert isinstance(model["class_name"], str)
    assert isinstance(model["device"], str)
    assert model["supports_paralinguistic_tags"] is False
    assert model["available_paralinguistic_tags"] == []


async def test_each_edit_is_remembered_and_null_is_no_value(browser: Browser) -> None:
    before = browser.config
    edited = {
        "last_text": "Edited.", "last_voice_mode": "clone", "last_predefined_voice": "none", "last_reference_file": None, "last_seed": 7,
        "last_chunk_size": 120, "last_split_text_enabled": False, "hide_chunk_warning": True, "hide_generation_warning": True,
        "theme": "dark", "last_preset_name": None,
    }  # fmt: skip
    answer = await browser.post("/save_settings", {"ui_state": edited})
    assert isinstance(answer["message"], str)
    assert answer["restart_needed"] is False
    state = (await browser.get("/api/ui/initial-data"))["config"]["ui_state"]
    assert {key: value for key, value in state.items() if edited[key] is not None} == {
        key: value for key, value in edited.items() if value is not None
    }
    assert all(value is not None for value in state.values())
    assert browser.config == before  # what it remembers has a file of its own


async def test_its_form_saves_settings_and_leaves_the_rest_of_the_file(browser: Browser) -> None:
    form = {
        "tts_engine": {
            "default_voice_id": "tone-low",
            "predefined_voices_path": "voices",
            "reference_audio_path": "reference_audio",
        },
        "audio_output": {"format": "mp3", "sample_rate": 24000},
    }
    answer = await browser.post("/save_settings", form)
    assert (answer["restart_needed"], bool(answer["message"])) == (True, True)
    generation = {
        "temperature": 0.5,
        "exaggeration": 0.6,
        "cfg_weight": 0.4,
        "speed_factor": 1.5,
        "seed": 11,
        "language": "en",
    }
    assert (await browser.post("/save_settings", {"generation_defaults": generation}))["restart_needed"] is False
    assert (await browser.get("/api/ui/initial-data"))["config"]["generation_defaults"] == generation
    for kept in (
        "# Settings of the reading room. Ask Ada before you change anything.",
        "auth_password: correct-horse-battery   # nobody's business",
        "# Load the model on the first request rather than at startup.",
        "enable_silence_trimming: true     # tried false, sounded worse",
        "shelf: [fables, 'fairy tales', {row: 3, seat: 4}]",
        "model_idle_timeout_minutes: 20",
    ):
        assert kept in browser.config
    wrong = await browser.post("/save_settings", {"audio_output": {"format": "wma"}}, 422)
    assert "audio_output.format" in wrong["detail"]  # shown as it is


async def test_another_model_and_a_restart(browser: Browser) -> None:
    assert (await browser.post("/save_settings", {"model": {"repo_id": "chatterbox"}}))["restart_needed"] is True
    assert (await browser.post("/restart_server")) == {
        "message": (await browser.post("/restart_server"))["message"],
        "restart_needed": False,
    }
    assert (await browser.get("/api/model-info"))["loaded"] is True


async def test_it_speaks_and_names_the_file(browser: Browser) -> None:
    form = {
        "text": "Nobody moved. Then somebody did.", "temperature": 0.8, "exaggeration": 1.3, "cfg_weight": 0.5, "speed_factor": 1, "seed": None,
        "language": "en", "voice_mode": "predefined", "split_text": True, "chunk_size": 240, "output_format": "mp3",
    }  # fmt: skip
    voice = (await browser.get("/get_predefined_voices"))[0]["filename"]
    for number, kind in enumerate(("mp3", "wav", "opus")):
        answer = await browser.fetch(
            "POST", "/tts", json=form | {"output_format": kind, "predefined_voice_id": voice, "seed": number}
        )
        name = answer.headers["content-disposition"].split("filename=")[1].replace('"', "")
        assert name.startswith("tts_output_")
        assert name.endswith(f".{kind}")
        assert int(answer.headers["content-length"]) == len(answer.content)
    unnamed = await browser.fetch(
        "POST", "/tts", json=form
    )  # "none" is chosen: the default, or what there is in its place
    assert unnamed.headers["content-type"] == "audio/mpeg"
    clone = form | {"voice_mode": "clone", "reference_audio_filename": "Gianna.wav"}
    assert "cannot clone" in (await browser.post("/tts", clone, 400))["detail"]
    assert isinstance((await browser.post("/tts", form | {"text": ""}, 422))["detail"], str)
    saved = sorted((browser.home / "outputs").glob("tts_output_*.opus"))
    assert (await browser.fetch("GET", f"/outputs/{saved[0].name}")).content == saved[0].read_bytes()


async def test_the_queue_as_its_page_polls_it(browser: Browser) -> None:
    queued = await browser.post("/tts/enqueue", {"text": "Queued. Spoken. Done."}, 202)
    assert set(queued) >= {"job_id", "status", "message", "status_url", "result_url"}
    assert queued["status"] == "queued"
    async with asyncio.timeout(30):
        while (state := await browser.get(queued["status_url"]))["status"] != "completed":
            assert state["status"] in ("queued", "running")
            await asyncio.sleep(0.05)
    assert (state["progress"], state["error"], state["current_chunk"]) == (100, None, state["total_chunks"])
    assert await browser.fetch("GET", queued["result_url"])
    assert "completed" in (await browser.fetch("DELETE", f"/tts/{queued['job_id']}", 409)).json()["detail"]
    assert list(
        (browser.home / "outputs").glob(f"tts_job_{queued['job_id']}_*.wav")
    )  # its formats: an omitted one is WAV
    await browser.fetch("GET", "/tts/00000000-0000-0000-0000-000000000000/status", 404)


async def test_uploads_and_its_lists(browser: Browser) -> None:
    for path, listing, everything in (
        ("/upload_reference", "/get_reference_files", "all_reference_files"),
        ("/upload_predefined_voice", "/get_predefined_voices", "all_predefined_voices"),
    ):
        files = [("files", ("New one.wav", recording())), ("files", ("bad.mp3", b"no sound"))]
        answer = (await browser.fetch("POST", path, files=files)).json()
        assert answer["uploaded_files"] == ["New one.wav"]
        assert [(error["filename"], bool(error["error"])) for error in answer["errors"]] == [("bad.mp3", True)]
        assert answer[everything] == await browser.get(listing)
        assert isinstance(answer["message"], str)
        refused = (await browser.fetch("POST", path, 400, files=files[1:])).json()
        assert (refused["uploaded_files"], len(refused["errors"]), bool(refused["message"])) == ([], 1, True)
    assert {"Gianna.wav", "New one.wav", "Robert.mp3.wav"} == set(await browser.get("/get_reference_files"))
    assert (browser.home / "reference_audio" / "New one.wav").is_file()
    assert (browser.home / "voices" / "New one.wav").is_file()


async def test_unload_then_all_to_its_defaults(browser: Browser) -> None:
    assert await browser.post("/api/unload") == {"status": "unloaded"}
    assert (await browser.get("/api/model-info"))["loaded"] is False
    assert isinstance((await browser.post("/tts", {"text": "Hello."}, 503))["detail"], str)
    await browser.post("/restart_server")
    answer = await browser.post("/reset_settings")
    assert (answer["restart_needed"], isinstance(answer["message"], str)) == (True, True)
    assert (browser.home / "voices" / "Emily.wav").is_file()
    assert "shelf" in (browser.home / "config.yaml.bak").read_text()


async def test_the_password_was_told_to_nobody(browser: Browser) -> None:
    assert len(browser.told) > 30
    assert not [text for text in browser.told if SECRET in text]
