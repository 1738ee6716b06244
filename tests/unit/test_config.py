"""Settings: precedence, old files, warnings, errors, paths, and that the docs tell the truth."""

import json
import os
from collections.abc import Mapping
from pathlib import Path

import pytest
from pydantic import ValidationError

from rhapsode.config import Loaded, default_data_dir, effective, env_name, load_settings
from rhapsode.config_file import ConfigFile
from rhapsode.errors import ConfigError
from rhapsode.settings import Settings, sections
from rhapsode.settings_doc import describe_settings, settings_markdown
from tests.hosted import fake_environment

OLD_FILE = """\
server:
  host: 0.0.0.0
  port: "8004"
  use_ngrok: false
  use_auth: false
  auth_username: user
  auth_password: hunter2
  log_file_path: logs/tts_server.log
  log_file_max_size_mb: 10
  log_file_backup_count: 5
  ssl_certfile: null
  ssl_keyfile: null
  lazy_load_model: true
  model_idle_timeout_minutes: 20
model:
  repo_id: chatterbox-turbo
tts_engine:
  device: auto
  predefined_voices_path: voices
  reference_audio_path: reference_audio
  default_voice_id: Emily.wav
paths:
  model_cache: ./model_cache
  output: ./outs
generation_defaults:
  temperature: 0.8
  exaggeration: 1.3
  cfg_weight: 0.5
  seed: 0
  speed_factor: 1.0
  language: en
audio_output:
  format: mp3
  sample_rate: 24000
  max_reference_duration_sec: 30
  save_to_disk: false
audio_processing:
  enable_silence_trimming: false
ui_state:
  last_text: "[gasp] Okay"
  last_reference_file: null
  something_new: [1, {a: 2}]
ui:
  title: Chatterbox TTS Server
  show_language_select: true
  max_predefined_voices_in_dropdown: 20
debug:
  save_intermediate_audio: false
job_queue:
  max_retries: 1
  job_ttl_hours: "48"
  cleanup_interval_sec: 600
"""


def load(
    folder: Path,
    text: str | None = None,
    env: Mapping[str, str] | None = None,
    overrides: Mapping[str, object] | None = None,
) -> Loaded:
    """Settings from a file with this text; its folder is ``folder``/etc, the data directory ``folder``/data."""
    config = None
    if text is not None:
        config = folder / "etc" / "my.yaml"
        config.parent.mkdir(exist_ok=True)
        config.write_text(text, encoding="utf-8")
    return load_settings(config, folder / "data", env or {}, overrides)


def test_fresh_install_needs_nothing_and_binds_loopback(tmp_path: Path) -> None:
    loaded = load(tmp_path)
    assert loaded.settings.server.host == "127.0.0.1"
    assert loaded.settings.server.is_loopback
    assert loaded.settings.server.port == 8004
    assert loaded.settings.engine.name == "piper"
    assert loaded.settings.data_dir == tmp_path / "data"
    assert loaded.warnings == ()
    assert loaded.source is None
    assert not loaded.host_named


def test_precedence_is_command_line_environment_file_default(tmp_path: Path) -> None:
    text = "fleet: {nice: 1, bulk_slots: 1, bulk_threads: 1}"
    env = {"RHAPSODE_FLEET__NICE": "2", "RHAPSODE_FLEET__BULK_SLOTS": "2"}
    fleet = load(tmp_path, text, env, {"fleet.nice": 3, "fleet.bulk_slots": None}).settings.fleet
    assert (fleet.nice, fleet.bulk_slots, fleet.bulk_threads) == (3, 2, 1)
    assert fleet.express_threads == 0


def test_a_file_of_the_old_server_loads(tmp_path: Path) -> None:
    loaded = load(tmp_path, OLD_FILE)
    settings = loaded.settings
    assert loaded.host_named
    assert (settings.server.host, settings.server.port) == ("0.0.0.0", 8004)
    assert not settings.server.is_loopback
    assert settings.job_queue.job_ttl_hours == 48
    assert settings.audio_output.format == "mp3"
    assert settings.engine.name == "piper"
    assert settings.tts_engine.default_voice_id == "Emily.wav"
    assert settings.ui_state.model_dump()["something_new"] == [1, {"a": 2}]
    assert settings.job_queue.output_path == settings.paths.output == tmp_path / "etc" / "outs"
    assert len(loaded.warnings) == 3
    idle, model, rate = loaded.warnings
    assert "server.model_idle_timeout_minutes" in idle
    assert "fleet.idle_unload_sec" in idle
    assert "model.repo_id = 'chatterbox-turbo'" in model
    assert "'piper'" in model
    assert "audio_output.sample_rate = 24000" in rate


def test_an_old_file_speaks_with_its_engine_once_that_is_installed(tmp_path: Path) -> None:
    folder = tmp_path / "data"
    assert load(tmp_path, "model: {repo_id: ResembleAI/chatterbox-turbo}").settings.engine.name == "piper"
    fake_environment(folder, "chatterbox")
    loaded = load(tmp_path, "model: {repo_id: ResembleAI/chatterbox-turbo}")
    assert (loaded.settings.engine.name, loaded.warnings) == ("chatterbox-turbo", ())
    named = load(tmp_path, "model: {repo_id: turbo}\nengine: {name: tone}")
    assert named.settings.engine.name == "tone"
    assert "chooses no engine" in named.warnings[0]


def test_the_old_password_switch_is_never_ignored_in_silence(tmp_path: Path) -> None:
    (warning,) = load(tmp_path, "server: {use_auth: true, auth_password: hunter2}").warnings
    assert "server.use_auth" in warning
    assert "open" in warning
    assert "hunter2" not in warning


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("server: {prot: 9}", ["server.prot", "did you mean server.port?"]),
        ("servr: {port: 9}", ["servr", "did you mean server?"]),
        ("zebra: 1", ["zebra"]),
        ("server: {1: 2}", ["server.1"]),
    ],
)
def test_unknown_key_is_a_warning_that_names_it(tmp_path: Path, text: str, expected: list[str]) -> None:
    (warning,) = load(tmp_path, text).warnings
    assert all(part in warning for part in [*expected, "my.yaml"])


def test_unknown_environment_variable_is_a_warning(tmp_path: Path) -> None:
    env = {"RHAPSODE_SERVER__PROT": "1", "RHAPSODE_DATA_DIR": "/x", "RHAPSODE_OTHER": "1", "HOME": "/root"}
    (warning,) = load(tmp_path, env=env).warnings
    assert "RHAPSODE_SERVER__PROT" in warning
    assert "did you mean RHAPSODE_SERVER__PORT?" in warning


def test_unknown_override_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"server\.prot.*did you mean server\.port\?"):
        load(tmp_path, overrides={"server.prot": 1})


@pytest.mark.parametrize(
    ("key", "value", "bound"),
    [
        ("server.port", "99999", "65535"),
        ("server.port", "eighty", "integer"),
        ("server.port", "true", "must be a number|integer"),
        ("server.port", "1.5", "integer"),
        ("server.root_path", "no-slash", "start with /"),
        ("audio_output.format", "ogg", "wav"),
        ("audio_output.pause_sentence_sec", "-1", "0"),
        ("audio_output.pause_sentence_sec", ".nan", "finite"),
        ("generation_defaults.speed_factor", "9", "4"),
        ("tts_engine.device", "toaster", "cuda"),
        ("paths.output", "[1, 2]", "path"),
        ("job_queue.job_ttl_hours", "0", "0"),
        ("fleet.nice", "[1]", "integer"),
        ("ui.show_language_select", "perhaps", "boolean"),
    ],
)
def test_wrong_value_names_key_value_bound_and_file(tmp_path: Path, key: str, value: str, bound: str) -> None:
    section, name = key.split(".")
    with pytest.raises(ConfigError, match=bound) as caught:
        load(tmp_path, f"{section}: {{{name}: {value}}}")
    assert key in str(caught.value)
    assert "my.yaml" in str(caught.value)
    assert value.strip("[].") in str(caught.value).replace("True", "true")


def test_wrong_values_name_the_variable_or_the_command_line_and_come_all_at_once(tmp_path: Path) -> None:
    with pytest.raises(ConfigError) as caught:
        load(tmp_path, env={"RHAPSODE_FLEET__NICE": "40"}, overrides={"server.port": -1})
    port, nice = str(caught.value).splitlines()
    assert "server.port = -1 (the command line)" in port
    assert "fleet.nice = '40' ($RHAPSODE_FLEET__NICE)" in nice


def test_certificate_without_key_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"server.*ssl_certfile and ssl_keyfile must be set together"):
        load(tmp_path, "server: {ssl_certfile: cert.pem}")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("server: [1", "line 1"),
        ("server: {port: 1}\nserver: {port: 2}", "line 2"),
        ("- a\n- b", "sections"),
        ("server: 8004", "server = 8004"),
        ("server: {host: !!python/object:os.system x}", "YAML"),
    ],
)
def test_file_that_is_no_configuration(tmp_path: Path, text: str, message: str) -> None:
    with pytest.raises(ConfigError, match=message) as caught:
        load(tmp_path, text)
    assert "my.yaml" in str(caught.value)


def test_missing_and_unreadable_files(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"none\.yaml.*No such file"):
        load_settings(tmp_path / "none.yaml", tmp_path, {})
    with pytest.raises(ConfigError, match="directory"):
        load_settings(tmp_path, tmp_path, {})
    (tmp_path / "latin.yaml").write_bytes(b"ui: {title: caf\xe9}")
    with pytest.raises(ConfigError, match="UTF-8"):
        load_settings(tmp_path / "latin.yaml", tmp_path, {})


@pytest.mark.parametrize(
    "text", ["", "server:\nui:\n", "# nothing\n", "server: {port: null}", "\ufeffserver: {port: 8004}"]
)
def test_empty_parts_and_nulls_mean_not_set(tmp_path: Path, text: str) -> None:
    loaded = load(tmp_path, text)
    assert loaded.settings.server.port == 8004
    assert loaded.warnings == ()


def test_numeric_text_is_coerced_both_ways(tmp_path: Path) -> None:
    settings = load(tmp_path, 'server: {port: "81"}\nui: {title: 12}\naudio_output: {loudness_lufs: "-16.5"}').settings
    assert settings.server.port == 81
    assert settings.ui.title == "12"
    assert settings.audio_output.loudness_lufs == -16.5


def test_choices_are_taken_in_any_case(tmp_path: Path) -> None:
    assert load(tmp_path, "server: {log_level: INFO}").settings.server.log_level == "info"


def test_empty_variable_unsets_what_can_be_empty_and_is_wrong_elsewhere(tmp_path: Path) -> None:
    env = {"RHAPSODE_AUDIO_OUTPUT__LOUDNESS_LUFS": "", "RHAPSODE_PATHS__OUTPUT": "", "RHAPSODE_UI__TITLE": ""}
    settings = load(tmp_path, env=env).settings
    assert settings.audio_output.loudness_lufs is None
    assert settings.paths.output == tmp_path / "data" / "outputs"
    assert settings.ui.title == ""
    with pytest.raises(ConfigError, match=r"RHAPSODE_SERVER__PORT"):
        load(tmp_path, env={"RHAPSODE_SERVER__PORT": ""})


def test_named_paths_lie_beside_the_file_and_the_others_in_the_data_directory(tmp_path: Path) -> None:
    settings = load(tmp_path, "paths: {model_cache: m}", {"RHAPSODE_TTS_ENGINE__PREDEFINED_VOICES_PATH": "v"}).settings
    assert settings.paths.model_cache == tmp_path / "etc" / "m"
    assert settings.tts_engine.predefined_voices_path == tmp_path / "etc" / "v"
    assert settings.paths.output == settings.job_queue.output_path == tmp_path / "data" / "outputs"
    bare = load(tmp_path, env={"RHAPSODE_PATHS__OUTPUT": "o"}).settings
    assert bare.paths.output == bare.job_queue.output_path == tmp_path / "data" / "o"


def test_home_and_absolute_paths(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    paths = load(tmp_path, f"paths: {{model_cache: ~/m, output: {tmp_path / 'abs'}}}").settings.paths
    assert paths.model_cache == tmp_path / "home" / "m"
    assert paths.output == tmp_path / "abs"


def test_results_folder_of_its_own(tmp_path: Path) -> None:
    loaded = load(tmp_path, "paths: {output: a}\njob_queue: {output_path: b}")
    assert loaded.settings.job_queue.output_path == tmp_path / "etc" / "b"
    assert effective(loaded)["job_queue"]["output_path"] == "b"


def test_data_dir_precedence(tmp_path: Path) -> None:
    file = tmp_path / "c.yaml"
    file.write_text("data_dir: from-file\n")
    env = {"RHAPSODE_DATA_DIR": str(tmp_path / "from-env")}
    over = {"data_dir": str(tmp_path / "from-override")}
    assert load_settings(file, tmp_path / "arg", env, over).settings.data_dir == tmp_path / "arg"
    assert load_settings(file, None, env, over).settings.data_dir == tmp_path / "from-override"
    assert load_settings(file, None, env).settings.data_dir == tmp_path / "from-env"
    assert load_settings(file, None, {}).settings.data_dir == tmp_path / "from-file"
    assert load_settings(None, None, {"XDG_DATA_HOME": str(tmp_path)}).settings.data_dir == default_data_dir(
        {"XDG_DATA_HOME": str(tmp_path)}
    )


def test_relative_data_dir_becomes_absolute(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert load_settings(None, Path("d"), {}).settings.data_dir == tmp_path / "d"


def test_file_is_found_by_variable_or_in_the_data_directory(tmp_path: Path) -> None:
    (tmp_path / "config.yaml").write_text("server: {port: 1}")
    (tmp_path / "named.yaml").write_text("server: {port: 2}")
    found = load_settings(None, tmp_path, {})
    assert (found.settings.server.port, found.source) == (1, tmp_path / "config.yaml")
    named = load_settings(None, tmp_path, {"RHAPSODE_CONFIG": str(tmp_path / "named.yaml")})
    assert named.settings.server.port == 2


def test_effective_shows_what_is_in_force_with_paths_as_written(tmp_path: Path) -> None:
    shown = effective(load(tmp_path, OLD_FILE, overrides={"server.port": 9}))
    assert shown["server"]["port"] == 9
    assert shown["paths"] == {"model_cache": "./model_cache", "output": "./outs"}
    assert shown["job_queue"]["output_path"] == "./outs"
    assert shown["ui_state"]["something_new"] == [1, {"a": 2}]
    assert "hunter2" not in str(shown)
    assert str(tmp_path) not in str(shown)
    required = {
        "server": ["host", "port"],
        "tts_engine": ["device", "default_voice_id", "predefined_voices_path", "reference_audio_path"],
        "paths": ["model_cache", "output"],
        "audio_output": ["format", "sample_rate", "save_to_disk"],
        "ui": ["title", "show_language_select"],
        "ui_state": [
            "last_text", "last_voice_mode", "last_predefined_voice", "last_reference_file", "last_seed", "last_chunk_size",
            "last_split_text_enabled", "last_preset_name", "hide_chunk_warning", "hide_generation_warning", "theme",
        ],
    }  # fmt: skip
    for section, keys in required.items():
        assert all(shown[section][key] is not None for key in keys), section


def test_a_password_is_never_shown_and_never_overwritten(tmp_path: Path) -> None:
    url = "postgresql://me:hunter2@db.local/tts?password=hunter2&sslmode=require"
    text = f"ledger:\n  url: {url}\n  node: one\n"
    file = ConfigFile(load(tmp_path, text))
    view = file.view()
    assert view["ledger"]["url"] == "postgresql://me:***@db.local/tts?password=***&sslmode=require"
    assert "hunter2" not in json.dumps(view)
    file.save({"ledger": view["ledger"], "ui": {"title": "Mine"}})  # as a page sends back what it was shown
    assert url in file.path.read_text(encoding="utf-8")
    assert (file.loaded.settings.ledger.url, file.loaded.settings.ui.title) == (url, "Mine")
    with pytest.raises(ConfigError, match=r"ledger\.url = ") as refused:
        load(tmp_path, text.replace("postgresql:", "mysql:"))
    assert "hunter2" not in str(refused.value)


def test_settings_cannot_be_changed(tmp_path: Path) -> None:
    settings = load(tmp_path).settings
    with pytest.raises(ValidationError, match="frozen"):
        settings.server.port = 1


def test_every_default_can_be_given_by_its_variable(tmp_path: Path) -> None:
    plain = load(tmp_path).settings
    rows = [row for row in describe_settings() if row.default and not row.key.endswith(".*") and "<" not in row.key]
    loaded = load(tmp_path, env={row.env: row.default for row in rows})
    assert loaded.warnings == ()
    assert loaded.settings.model_dump(exclude={"ui_state"}) == plain.model_dump(exclude={"ui_state"})
    assert {row.key for row in rows} <= loaded.named


def test_single_engines_are_run_as_the_file_and_the_environment_say(tmp_path: Path) -> None:
    text = "engines:\n  kokoro:\n    device: cuda:0,cuda:1\n    threads: 3\n"
    env = {"RHAPSODE_ENGINES__KOKORO__THREADS": "2"}
    loaded = load_settings(None, tmp_path, env, {}, text)
    run = loaded.settings.engines.run("kokoro")
    assert (run.device, run.threads, run.memory_cap_mb) == ("cuda:0,cuda:1", 2, None)
    assert loaded.settings.engines.named() == ("kokoro",)
    assert loaded.settings.engines.run("piper").threads == 0
    assert effective(loaded)["engines"]["kokoro"]["threads"] == 2


@pytest.mark.parametrize(
    ("text", "env", "message"),
    [
        ("engines: {kokoro: {device: tpu}}", {}, r"engines.kokoro.device = 'tpu' \(.*\): must be auto, cpu, mps"),
        ("engines: {kokoro: {speed: 2}}", {}, r"engines.kokoro.speed = 2 \(.*\): Extra inputs"),
        ("", {"RHAPSODE_ENGINES__KOKORO__PROCESSES": "-1"}, r"engines.kokoro.processes = '-1' \(\$RHAPSODE_ENGINES"),
    ],
)
def test_a_wrong_setting_of_a_single_engine_is_named(
    tmp_path: Path, text: str, env: dict[str, str], message: str
) -> None:
    with pytest.raises(ConfigError, match=message):
        load_settings(None, tmp_path, env, {}, text)


def test_every_setting_is_described() -> None:
    rows = {row.key: row for row in describe_settings()}
    keys = {f"{name}.{key}" for name, section in sections().items() for key in section.model_fields} | {"data_dir"}
    assert keys <= set(rows)
    assert set(Settings.model_fields) == set(sections()) | {"data_dir"}
    for key in keys:
        row = rows[key]
        assert row.help.endswith("."), key
        assert "\n" not in row.help, key
        assert row.bounds, key
        assert row.env == (env_name(key) if key != "data_dir" else "RHAPSODE_DATA_DIR")
        if key.endswith(("_sec", "_mb", "_hours", "_bytes", "_chars", "_lufs")):
            assert row.unit, key


def test_the_docs_page_is_the_generated_one() -> None:
    page = Path(__file__).parents[2] / "docs" / "configuration.md"
    assert page.read_text(encoding="utf-8") == settings_markdown(), (
        "docs/configuration.md is out of date: rhapsode settings --markdown > docs/configuration.md"
    )


def test_the_environment_of_the_process_is_the_default(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(os.environ, "RHAPSODE_SERVER__PORT", "77")
    assert load_settings(None, tmp_path).settings.server.port == 77
