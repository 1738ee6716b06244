"""The configuration over HTTP: what the old page reads and writes, and the engine's restart."""

import json
import stat
from collections.abc import AsyncIterator
from pathlib import Path

import httpx
import pytest

from rhapsode.config import load_settings
from tests.serving import QUICK, Server, serving

OLD_FILE = """# my settings
server:
  host: 127.0.0.1   # stays at home
  port: 0
model:
  repo_id: chatterbox-turbo
tts_engine:
  default_voice_id: Emily.wav
  my_own_key: 7
generation_defaults:
  temperature: 0.8  # lively
  speed_factor: 1.0
somebody_elses:
  things: [1, 2]
ui_state:
  last_text: "Hello."
  theme: light
"""


@pytest.fixture
async def server(tmp_path: Path) -> AsyncIterator[Server]:
    config = tmp_path / "config.yaml"
    config.write_text(OLD_FILE, encoding="utf-8")
    overrides = {key: value for key, value in QUICK.items() if key != "server.port"}
    loaded = load_settings(config, tmp_path / "data", env={}, overrides=overrides)
    async with serving(loaded) as found:
        yield found


def file_of(server: Server) -> Path:
    return server.settings.data_dir.parent / "config.yaml"


async def post(server: Server, path: str, body: object = None, **headers: str) -> httpx.Response:
    return await server.http.post(path, json=body, headers=headers)


async def test_the_old_page_finds_all_it_reads(server: Server) -> None:
    data = (await server.http.get("/api/ui/initial-data")).json()
    assert set(data) == {
        "config",
        "reference_files",
        "predefined_voices",
        "presets",
        "initial_gen_result",
        "model_info",
    }
    config = data["config"]
    for section, names in {
        "server": ("host", "port"),
        "tts_engine": ("device", "default_voice_id", "predefined_voices_path", "reference_audio_path"),
        "paths": ("model_cache", "output"),
        "audio_output": ("format", "sample_rate", "save_to_disk"),
        "generation_defaults": ("temperature", "exaggeration", "cfg_weight", "seed", "speed_factor", "language"),
        "ui": ("title", "show_language_select"),
        "ui_state": (
            "last_text", "last_voice_mode", "last_predefined_voice", "last_reference_file", "last_seed", "last_chunk_size",
            "last_split_text_enabled", "last_preset_name", "hide_chunk_warning", "hide_generation_warning", "theme",
        ),
    }.items():  # fmt: skip
        for name in names:
            assert config[section][name] is not None, f"{section}.{name}"
    assert config["tts_engine"]["predefined_voices_path"] == "voices"  # as written
    assert config["ui_state"]["last_text"] == "Hello."
    nothing = {
        "outputUrl",
        "filename",
        "genTime",
        "submittedVoiceMode",
        "submittedPredefinedVoice",
        "submittedCloneFile",
    }
    assert set(data["initial_gen_result"]) == nothing
    assert not any(data["initial_gen_result"].values())
    assert config["initial_gen_result"] == data["initial_gen_result"]
    assert data["predefined_voices"] == (await server.http.get("/get_predefined_voices")).json() != []
    assert data["reference_files"] == []
    assert data["presets"][0]["name"]
    assert data["model_info"] == (await server.http.get("/api/model-info")).json()
    assert data["model_info"]["loaded"] is True
    assert data["model_info"]["type"] == "original"
    assert set(data["model_info"]) == {
        "loaded", "type", "class_name", "device", "sample_rate", "supports_paralinguistic_tags", "available_paralinguistic_tags",
        "turbo_available_in_package", "multilingual_available_in_package", "supports_multilingual", "supported_languages",
    }  # fmt: skip


async def test_saving_merges_keeps_comments_and_unknown_keys_and_holds_at_once(server: Server) -> None:
    answer = await post(
        server, "/save_settings", {"generation_defaults": {"speed_factor": 2.0}, "new_section": {"a": {"b": 1}}}
    )
    assert answer.json() == {"message": answer.json()["message"], "restart_needed": True}  # a section that nobody knows
    answer = await post(server, "/save_settings", {"generation_defaults": {"speed_factor": 1.5}})
    assert answer.json()["restart_needed"] is False
    text = file_of(server).read_text(encoding="utf-8")
    for kept in ("# my settings", "# stays at home", "temperature: 0.8  # lively", "my_own_key: 7", "things: [1, 2]"):
        assert kept in text
    assert load_settings(file_of(server), env={}).settings.generation_defaults.speed_factor == 1.5
    job = await server.enqueue("One two three.")
    asked = (await server.http.get(f"/tts/{job}")).json()["request"]
    assert asked["speed_factor"] == 1.5
    assert not list(file_of(server).parent.glob(".tmp-*"))


@pytest.mark.parametrize("section", ["server", "tts_engine", "paths", "model"])
async def test_some_sections_need_a_restart(server: Server, section: str) -> None:
    assert (await post(server, "/save_settings", {section: {}})).json()["restart_needed"] is True


async def test_a_wrong_value_is_named_and_nothing_is_written(server: Server) -> None:
    before = file_of(server).read_bytes()
    answer = await post(
        server, "/save_settings", {"audio_output": {"format": "wma"}, "generation_defaults": {"seed": 5}}
    )
    assert answer.status_code == 422
    assert "audio_output.format" in answer.json()["detail"]
    assert "wma" in answer.json()["detail"]
    assert file_of(server).read_bytes() == before
    for body in ([1], "text", 3, None):
        assert (await post(server, "/save_settings", body)).status_code == 400
    assert (await server.http.post("/save_settings", content=b"{")).status_code == 400
    assert file_of(server).read_bytes() == before


@pytest.mark.parametrize(
    "body",
    [
        b'{"ui_state": {"last_seed": NaN}}', b'{"ui_state": {"last_text": "\\ud800"}}', b'{"\\udfff": 1}', b'{"ui": {"title": "\\ud800"}}',
        b'{"paths": {"output": "a\\u0000b"}}', b'{"x": ' + b"[" * 90_000, b'{"x": ' + b"[" * 900 + b"]" * 900 + b"}", b'{"x": ' + b"9" * 9_000,
        b'{"x": [' + b"0," * 20_000 + b"0]}", b"\xff", b'{"a": "\xff"}',
    ],
)  # fmt: skip
async def test_what_no_file_or_page_could_hold_is_refused(server: Server, body: bytes) -> None:
    before = file_of(server).read_bytes()
    answer = await server.http.post("/save_settings", content=body)
    assert answer.status_code in (400, 422), answer.text
    assert answer.json()["detail"]
    assert file_of(server).read_bytes() == before
    assert (await server.http.get("/api/ui/initial-data")).status_code == 200


async def test_what_the_page_remembers_lies_beside_the_file(server: Server) -> None:
    before = file_of(server).read_bytes()
    text = "A long text. " * 50_000
    answer = await post(server, "/save_settings", {"ui_state": {"last_text": text, "window": {"x": 1}}})
    assert answer.json()["restart_needed"] is False
    assert file_of(server).read_bytes() == before
    state = (await server.http.get("/api/ui/initial-data")).json()["config"]["ui_state"]
    assert state["last_text"] == text
    assert state["window"] == {"x": 1}
    assert state["theme"] == "light"


@pytest.mark.parametrize("key", ["fleet.python", "auth.mode", "server.log_file_path", "webhooks.allow_private"])
async def test_some_settings_only_the_file_may_change(server: Server, key: str) -> None:
    section, name = key.split(".")
    values = {"auth.mode": "off", "webhooks.allow_private": True}
    answer = await post(server, "/save_settings", {section: {name: values.get(key, "/tmp/x")}})
    assert (answer.status_code, key in answer.json()["detail"]) == (403, True)
    now = (await server.http.get("/api/ui/initial-data")).json()["config"][section][name]
    assert (await post(server, "/save_settings", {section: {name: now}})).status_code == 200  # as it is


async def test_pages_of_other_sites_change_nothing(server: Server) -> None:
    before = file_of(server).read_bytes()
    for path in ("/save_settings", "/reset_settings", "/restart_server", "/api/unload"):
        refused = await post(server, path, {"ui": {"title": "x"}}, Origin="https://evil.example")
        assert (refused.status_code, refused.json()["code"]) == (403, "forbidden")
    assert file_of(server).read_bytes() == before


async def test_reset_brings_defaults_and_leaves_jobs_and_the_old_file(server: Server) -> None:
    job = await server.enqueue("Stay.")
    await server.until(job, "completed")
    answer = await post(server, "/reset_settings")
    assert answer.json()["restart_needed"] is True
    config = (await server.http.get("/api/ui/initial-data")).json()["config"]
    assert config["generation_defaults"]["temperature"] == 0.667
    assert config["ui_state"]["last_text"] == ""
    assert file_of(server).with_name("config.yaml.bak").read_text(encoding="utf-8") == OLD_FILE
    assert (await server.status(job))["status"] == "completed"


async def test_a_file_that_cannot_be_replaced_is_written_in_place(
    server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = file_of(server)
    path.chmod(0o640)
    node = path.stat().st_ino

    def busy(self: Path, target: Path) -> Path:
        raise OSError(16, "Device or resource busy")  # a bind-mounted file

    monkeypatch.setattr(Path, "replace", busy)
    assert (await post(server, "/save_settings", {"ui": {"title": "Mine"}})).status_code == 200
    assert path.stat().st_ino == node
    assert stat.S_IMODE(path.stat().st_mode) == 0o640
    assert "title: Mine" in path.read_text(encoding="utf-8")
    assert path.with_name("config.yaml.bak").read_text(encoding="utf-8") == OLD_FILE
    assert not list(path.parent.glob(".tmp-*"))


async def test_restart_takes_new_settings_and_running_jobs_survive(server: Server) -> None:
    job = await server.enqueue("A sentence of a long text. " * 200)
    await server.until(job, "running")
    await post(server, "/save_settings", {"tts_engine": {"default_voice_id": "tone-low"}})
    answer = await post(server, "/restart_server")
    assert answer.status_code == 200, answer.text
    assert answer.json()["restart_needed"] is False
    assert (await server.until(job, "completed"))["segments"]["failed"] == 0


async def test_a_restart_with_a_broken_file_leaves_the_engine_as_it_was(server: Server) -> None:
    file_of(server).write_text("generation_defaults: {seed: many}", encoding="utf-8")
    answer = await post(server, "/restart_server")
    assert (answer.status_code, answer.json()["code"]) == (500, "engine_not_loaded")
    assert "seed" in answer.json()["detail"]
    assert (await post(server, "/tts", {"text": "Still here."})).status_code == 200


async def test_unloaded_means_503_and_jobs_wait_visibly(server: Server) -> None:
    assert (await post(server, "/api/unload")).json() == {"status": "unloaded"}
    assert (await post(server, "/tts", {"text": "Hello."})).status_code == 503
    job = await server.enqueue("Hello.")
    assert (await server.status(job))["waiting_for"] == "engine unloaded"
    assert (await server.http.get("/api/model-info")).json()["loaded"] is False
    assert (await post(server, "/restart_server")).status_code == 200
    await server.until(job, "completed")


async def test_every_setting_is_described(server: Server) -> None:
    answer = (await server.http.get("/settings")).json()
    rows = {row["key"]: row for section in answer["sections"] for row in section["settings"]}
    assert answer["file"] == "config.yaml"
    assert rows["audio_output.format"]["choices"] == ["wav", "flac", "mp3", "opus"]
    assert (
        rows["generation_defaults.speed_factor"]["minimum"],
        rows["generation_defaults.speed_factor"]["maximum"],
    ) == (0.25, 4)
    assert rows["generation_defaults.temperature"]["value"] == 0.8
    assert rows["generation_defaults.temperature"]["named"] is True
    assert rows["fleet.python"]["file_only"] is True
    assert all(row["help"] for row in rows.values())
    threads, python = rows["engines.tone.threads"], rows["engines.tone.python"]
    assert (threads["value"], threads["named"], threads["minimum"]) == (0, False, 0)
    assert (threads["file_only"], python["file_only"]) == (False, True)
    assert (await post(server, "/save_settings", {"engines": {"tone": {"threads": 2}}})).status_code == 200
    answer = (await server.http.get("/settings")).json()
    rows = {row["key"]: row for section in answer["sections"] for row in section["settings"]}
    assert (rows["engines.tone.threads"]["value"], rows["engines.tone.threads"]["named"]) == (2, True)
    assert json.dumps(answer)


async def test_engines_say_what_they_can(server: Server) -> None:
    first, *others = (await server.http.get("/engines")).json()["engines"]
    assert (first["name"], first["active"], first["state"], first["device"]) == ("tone", True, "ready", "cpu")
    assert {control["name"] for control in first["controls"]} >= {"speed_factor"}
    states = {one["name"]: one["state"] for one in others}
    assert states["chatterbox-turbo"] == "not installed: rhapsode engines install chatterbox"
    assert "not installed" not in states["piper"]
    assert not any(one["offered"] for one in others), "engine.also is empty"
