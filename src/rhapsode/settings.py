"""Every setting: its name, type, default, unit, bounds and one line of help. How they are read is in ``config.py``.

One frozen class per section of the configuration file. The old server's names are kept where there are any.
"""

import ipaddress
import re
from pathlib import Path
from typing import Any, ClassVar, Literal, Self, get_origin

from pydantic import BaseModel, ConfigDict, Field, ValidationInfo, field_validator, model_validator

from rhapsode.plain import require_plain


def _setting(default: Any, text: str, unit: str = "", special: str = "", **bounds: Any) -> Any:
    """Declare one setting.

    Args:
        default: Its value when nothing names it.
        text: One line of help.
        unit: Unit of the value, empty for none.
        special: What a value outside the ordinary meaning stands for, such as ``0 = off``.
        bounds: ``ge``, ``le``, ``gt``, ``lt``, ``pattern`` as pydantic takes them.
    """
    return Field(default, description=text, json_schema_extra={"unit": unit, "special": special}, **bounds)


def _names(listed: str) -> frozenset[str]:
    """Names that were written with commas between, in lower case."""
    return frozenset(name.strip().lower() for name in listed.split(",") if name.strip())


class Section(BaseModel):
    """One section of the configuration."""

    model_config = ConfigDict(
        frozen=True, extra="forbid", coerce_numbers_to_str=True, allow_inf_nan=False, validate_default=True
    )

    @field_validator("*", mode="before")
    @classmethod
    def _tidy(cls, value: object, info: ValidationInfo) -> object:
        """Refuse ``true`` for a number, which Python takes as 1, and text that no file can hold; take choices in any case."""
        annotation = cls.model_fields[info.field_name].annotation if info.field_name in cls.model_fields else object
        if isinstance(value, bool) and annotation in {int, float}:
            raise ValueError("must be a number")
        if isinstance(value, str | Path) and annotation is not object:
            require_plain(str(value))
            if "\0" in str(value):
                raise ValueError("must not hold NUL characters")
        if isinstance(value, str) and get_origin(annotation) is Literal:
            return value.strip().lower()
        return value


class OpenSection(Section):
    """A section that keeps whatever it is given, if it is plain."""

    model_config = ConfigDict(extra="allow")
    member: ClassVar[type[Section] | None] = None
    """What each thing is that it is given, if that is known."""

    @model_validator(mode="before")
    @classmethod
    def _plain(cls, given: object) -> object:
        if isinstance(given, dict):
            require_plain(given)
        return given


class Server(Section):
    """Where the server listens and what it writes to its log."""

    host: str = _setting("127.0.0.1", "Address to listen on; 0.0.0.0 opens the server to the network.", min_length=1)
    port: int = _setting(8004, "TCP port to listen on.", special="0 = any free port", ge=0, le=65535)
    allowed_hosts: str = _setting(
        "",
        "Names under which this server may be called, such as tts.example.com, by commas; for reverse proxies that pass the Host on.",
        special="* = any; empty = any, but this machine's alone while only it can reach the server and no key is needed",
    )
    root_path: str = _setting("", "Path under which a reverse proxy serves this server, such as /tts-server.")
    trusted_proxies: str = _setting(
        "127.0.0.1, ::1",
        "Addresses and networks of reverse proxies that are believed who asks, and whether by HTTPS, by commas.",
    )
    ssl_certfile: Path | None = _setting(None, "Certificate file; turns HTTPS on, together with ssl_keyfile.")
    ssl_keyfile: Path | None = _setting(None, "Private key file of the certificate.")
    log_format: Literal["text", "json"] = _setting("text", "Form of log lines; json has one object per line.")
    log_level: Literal["debug", "info", "warning", "error"] = _setting("info", "Least severe messages that are logged.")
    log_file_path: Path | None = _setting(None, "Log file, written besides the standard error output.")
    log_file_max_size_mb: int = _setting(10, "Size at which the log file is rotated.", "MB", ge=1, le=10_000)
    log_file_backup_count: int = _setting(5, "Rotated log files that are kept.", "files", ge=0, le=1_000)

    @property
    def hosts(self) -> frozenset[str]:
        """The allowed hosts, one by one."""
        return _names(self.allowed_hosts)

    @property
    def is_loopback(self) -> bool:
        """Whether only this machine can reach the server."""
        try:
            return ipaddress.ip_address(self.host).is_loopback
        except ValueError:
            return self.host == "localhost"

    @field_validator("root_path")
    @classmethod
    def _clean_root_path(cls, value: str) -> str:
        """Bring the root path to the form ``/a/b``; empty for none."""
        path = value.rstrip("/")
        if path and not re.fullmatch(r"(/[\w.~%-]+)+", path):
            raise ValueError("must be empty or start with / and be a plain path")
        return path

    @model_validator(mode="after")
    def _both_or_none(self) -> Self:
        if (self.ssl_certfile is None) != (self.ssl_keyfile is None):
            raise ValueError("ssl_certfile and ssl_keyfile must be set together")
        return self


class Model(Section):
    """What the old server loaded."""

    repo_id: str = _setting("", "The old server's choice of model; engine.name decides here.")


class Engine(Section):
    """Which engine speaks."""

    name: str = _setting("piper", "Engine that speaks: kept loaded, and used when a request names none.", min_length=1)
    also: str = _setting(
        "*", "Engines that requests may name besides, by commas; loaded when they do.",
        special="* = all that are installed, empty = none",
    )  # fmt: skip

    @property
    def others(self) -> tuple[str, ...]:
        """The engines named besides, one by one."""
        return tuple(name.strip() for name in self.also.split(",") if name.strip())


class EngineRun(Section):
    """How the workers of one engine are run, where it is not as those of all others."""

    python: str = _setting(
        "", "Interpreter of its own, with this package and the engine.", special="empty = fleet.python"
    )
    device: str = _setting(
        "", "Device that it runs on; several, by commas, are given out in turn to its workers.",
        special="empty = tts_engine.device",
    )  # fmt: skip
    processes: int = _setting(
        0, "Most workers at once.", "processes", "0 = one per device named, else as the engine says", ge=0, le=1_024
    )
    threads: int = _setting(0, "Threads of one bulk worker.", "threads", "0 = fleet.bulk_threads", ge=0, le=1_024)
    memory_cap_mb: int | None = _setting(
        None, "Memory at which a worker is replaced.", "MB", "empty = fleet.memory_cap_mb, 0 = no cap", ge=0, le=10**7
    )

    @field_validator("device")
    @classmethod
    def _known_devices(cls, value: str) -> str:
        for device in filter(None, (part.strip() for part in value.split(","))):
            _check_device(device)
        return value


class Engines(OpenSection):
    """Engines that are run otherwise than the rest, by name."""

    __pydantic_extra__: dict[str, EngineRun]
    member = EngineRun

    def run(self, engine: str) -> EngineRun:
        """How this one is run."""
        return self.__pydantic_extra__.get(engine) or EngineRun()

    def named(self) -> tuple[str, ...]:
        """The engines that have settings of their own."""
        return tuple(self.__pydantic_extra__)


def _check_device(value: str) -> str:
    if not re.fullmatch(r"auto|cpu|mps|cuda(:\d+)?", value):
        raise ValueError("must be auto, cpu, mps, cuda or cuda:N")
    return value


class TTSEngine(Section):
    """Device and voices."""

    device: str = _setting("auto", "Device the engine runs on: auto, cpu, mps, cuda or cuda:N.")
    predefined_voices_path: Path = _setting(Path("voices"), "Folder of the predefined voices.")
    reference_audio_path: Path = _setting(Path("reference_audio"), "Folder of the reference recordings for cloning.")
    default_voice_id: str = _setting("", "Voice of requests that name none.", special="empty = the engine's own")

    @field_validator("device")
    @classmethod
    def _known_device(cls, value: str) -> str:
        return _check_device(value)


class Paths(Section):
    """Where large files go."""

    model_cache: Path = _setting(Path("model_cache"), "Folder of downloaded and prepared models.")
    output: Path = _setting(Path("outputs"), "Folder of finished files.")


class GenerationDefaults(Section):
    """What a request gets that leaves these fields out."""

    temperature: float = _setting(0.667, "Liveliness of the speech; 0 varies least.", ge=0, le=1.5)
    exaggeration: float = _setting(0.5, "Expressiveness, for engines that have it.", ge=0, le=2)
    cfg_weight: float = _setting(0.5, "Adherence to the reference voice, for engines that have it.", ge=0, le=2)
    seed: int = _setting(0, "Seed of the speech.", special="0 or -1 = drawn at submit", ge=-1, le=2**32 - 1)
    speed_factor: float = _setting(1.0, "Speed of the speech; 2 is twice as fast.", ge=0.25, le=4)
    language: str = _setting("en", "Language of the text.", min_length=1)


class AudioOutput(Section):
    """The form of finished audio."""

    format: Literal["wav", "flac", "mp3", "opus"] = _setting("wav", "Format of requests whose output_format is null.")
    sample_rate: int = _setting(
        0, "Accepted from old files; files keep the rate of the voice.", "Hz", "0 = the voice's own", ge=0, le=192_000
    )
    max_reference_duration_sec: float = _setting(30, "Longest reference recording.", "s", gt=0, le=3_600)
    save_to_disk: bool = _setting(False, "Keep a copy of every finished file in paths.output, past its expiry.")
    pause_clause_sec: float = _setting(0.15, "Silence after a segment that ends inside a sentence.", "s", ge=0, le=10)
    pause_sentence_sec: float = _setting(0.35, "Silence after a sentence.", "s", ge=0, le=10)
    pause_paragraph_sec: float = _setting(0.7, "Silence after a paragraph.", "s", ge=0, le=10)
    pause_heading_sec: float = _setting(0.9, "Silence after a heading.", "s", ge=0, le=10)
    loudness_lufs: float | None = _setting(
        None, "Loudness that the finished file is brought to (EBU R128).", "LUFS", "empty = off", ge=-70, le=-5
    )


class AudioProcessing(OpenSection):
    """The old server's switches, kept as written. Engine silence is always trimmed here."""


class JobQueue(Section):
    """How long jobs live and where their results go."""

    max_retries: int = _setting(0, "Whole-job retries; segments have their own budget.", "retries", ge=0, le=100)
    job_ttl_hours: float = _setting(24, "Time a job and its audio stay after its end.", "h", gt=0, le=876_000)
    cleanup_interval_sec: float = _setting(3_600, "Time between two sweeps of expired jobs.", "s", ge=1, le=604_800)
    output_path: Path = _setting(Path("outputs"), "Folder of the results.", special="unset = paths.output")


class Ledger(Section):
    """Where jobs are recorded."""

    url: str = _setting(
        "",
        "Database that several nodes share, such as postgresql://rhapsode:password@db/rhapsode.",
        special="empty = ledger.db in the data directory",
    )
    node: str = _setting(
        "", "Name of this node; no two that run may have the same.", special="empty = host name and data directory"
    )

    @field_validator("url")
    @classmethod
    def _is_postgresql(cls, value: str) -> str:
        if value and not re.match(r"postgres(ql)?://[^/]*/[^/?]+", value):
            raise ValueError("must be empty or postgresql://user:password@host/database")
        return re.sub(r"^postgres://", "postgresql://", value)


class Fleet(Section):
    """The workers: processes of this machine, or actors of a Ray cluster."""

    kind: Literal["local", "ray"] = _setting("local", "Where the workers are: on this machine, or in a Ray cluster.")
    address: str = _setting(
        "auto", "Ray cluster to join: auto, host:port, or local for one of its own on this machine.", min_length=1
    )
    min_workers: int = _setting(1, "Workers of a Ray cluster that are always kept.", "workers", ge=0, le=100_000)
    max_workers: int = _setting(8, "Most workers of a Ray cluster.", "workers", ge=1, le=100_000)
    cpus_per_worker: float = _setting(1, "Processors that a Ray worker reserves.", "CPUs", ge=0, le=1_024)
    gpus_per_worker: float = _setting(
        0, "Graphics cards that a Ray worker reserves; 0.5: two workers share one.", "GPUs", ge=0, le=64
    )
    resources: str = _setting(
        "",
        "Custom resources that a Ray worker reserves, such as speech=1, or kokoro/a100=0.5 for one engine, by commas.",
    )
    node_cache: str = _setting(
        "", "Folder on the nodes for voices, clips and models that are sent to them.",
        special="empty = in their temporary folder",
    )  # fmt: skip
    bulk_slots: int = _setting(
        0, "Niced worker processes for long texts.", "processes", "0 = one per core", ge=0, le=1_024
    )
    bulk_threads: int = _setting(1, "Threads of one bulk worker.", "threads", ge=1, le=1_024)
    express_threads: int = _setting(
        0, "Threads of the worker for interactive work and first segments.", "threads",
        "0 = all cores, -1 = no such worker", ge=-1, le=1_024,
    )  # fmt: skip
    nice: int = _setting(10, "Niceness of the bulk workers.", ge=0, le=19)
    python: str = _setting("", "Python interpreter of the workers.", special="empty = the server's own")
    start_timeout_sec: float = _setting(120, "Time a worker has to start and load its engine.", "s", ge=1, le=86_400)
    heartbeat_timeout_sec: float = _setting(20, "Silence after which a worker counts as dead.", "s", ge=2, le=3_600)
    deadline_base_sec: float = _setting(30, "Deadline of a segment, fixed part.", "s", gt=0, le=86_400)
    deadline_per_char_sec: float = _setting(0.2, "Deadline of a segment, per character.", "s/character", ge=0, le=3_600)
    memory_cap_mb: int = _setting(2_048, "Memory at which a worker is replaced.", "MB", "0 = no cap", ge=0, le=10**7)
    memory_budget_mb: int = _setting(
        0, "Memory of all workers together above which idle ones end, those that were used longest ago first.", "MB",
        "0 = no budget", ge=0, le=10**7,
    )  # fmt: skip
    idle_unload_sec: float = _setting(
        1_200, "Idle time after which workers end; they come back on demand.", "s", "0 = never", ge=0, le=604_800
    )

    @property
    def custom_resources(self) -> dict[str, dict[str, float]]:
        """The custom resources by engine and name; those of every engine under the empty name."""
        found: dict[str, dict[str, float]] = {}
        for pair in filter(None, (part.strip() for part in self.resources.split(","))):
            name, _, amount = pair.partition("=")
            engine, _, resource = name.strip().rpartition("/")
            found.setdefault(engine, {})[resource] = float(amount)
        return found

    @field_validator("resources")
    @classmethod
    def _amounts(cls, value: str) -> str:
        for pair in filter(None, (part.strip() for part in value.split(","))):
            if not re.fullmatch(r"([\w.-]+/)?[\w.:-]+\s*=\s*\d+(\.\d+)?", pair):
                raise ValueError(f"must be name=amount or engine/name=amount, by commas; not {pair[:40]!r}")
        return value

    @model_validator(mode="after")
    def _least_and_most(self) -> Self:
        if self.min_workers > self.max_workers:
            raise ValueError("min_workers must not be above max_workers")
        return self


class Scheduler(Section):
    """Who is served when."""

    segment_failures: int = _setting(3, "Failures after which a segment fails its job.", "failures", ge=1, le=100)
    normal_delay_sec: float = _setting(1_800, "Head start of interactive over normal work.", "s", ge=0, le=604_800)
    batch_delay_sec: float = _setting(43_200, "Head start of interactive over batch work.", "s", ge=0, le=6_048_000)
    interactive_chars: int = _setting(
        1_000, "Characters of a synchronous request that are interactive; the rest is normal.", "characters",
        ge=0, le=10**8,
    )  # fmt: skip


class Blobs(Section):
    """Where takes, results and renditions lie."""

    url: str = _setting(
        "",
        "Bucket of an S3-compatible store, such as s3://speech/rhapsode, or a folder that several nodes share: file:///mnt/speech.",
        special="empty = folders on this machine",
    )
    endpoint: str = _setting(
        "", "Address of the store, such as http://minio:9000.", special="empty = $AWS_ENDPOINT_URL, else AWS"
    )
    region: str = _setting("", "Region of the bucket.", special="empty = $AWS_REGION, else us-east-1")
    redirect_sec: float = _setting(
        0, "Send those who fetch a result to the store, with an address valid for so long.", "s",
        "0 = pass it through here", ge=0, le=604_800,
    )  # fmt: skip

    @field_validator("url")
    @classmethod
    def _is_bucket(cls, value: str) -> str:
        if value and not re.fullmatch(r"s3://[A-Za-z0-9._-]+(/[^?#]*)?|file:///.+", value):
            raise ValueError("must be empty, s3://bucket, s3://bucket/prefix or file:///folder")
        return value.rstrip("/")


class Limits(Section):
    """What is refused."""

    max_text_chars: int = _setting(5_500_000, "Longest text of a job.", "characters", ge=1, le=10**9)
    max_body_bytes: int = _setting(40_000_000, "Largest body of a request.", "bytes", ge=1_024, le=10**11)
    max_upload_bytes: int = _setting(
        250_000_000, "Largest upload of voices or recordings.", "bytes", ge=1_024, le=10**11
    )
    max_queued_jobs: int = _setting(100_000, "Unfinished jobs; more are refused.", "jobs", ge=1, le=10**8)
    max_batch_requests: int = _setting(1_000, "Most requests in a batch.", "requests", ge=1, le=100_000)
    min_free_disk_mb: int = _setting(
        500, "Free space under which submits are refused.", "MB", "0 = off", ge=0, le=10**9
    )


class Auth(Section):
    """Who may use the server."""

    mode: Literal["auto", "keys", "off"] = _setting(
        "auto", "Whether API keys are needed; auto: as soon as one was made, even if all are revoked."
    )
    session_days: float = _setting(30, "Time a browser stays signed in.", "days", gt=0, le=3_650)
    allowed_origins: str = _setting(
        "", "Other sites whose pages may call a server that needs keys, such as https://a.example, by commas."
    )

    @property
    def origins(self) -> list[str]:
        """The allowed origins, one by one."""
        return [origin.strip().rstrip("/") for origin in self.allowed_origins.split(",") if origin.strip()]


class Webhooks(Section):
    """Messages to other programs."""

    allow_private: bool = _setting(False, "Send to addresses that are not public, such as 127.0.0.1 and 10.0.0.1.")
    allowed_hosts: str = _setting("", "Hosts that are sent to whatever their address, with commas between.")
    timeout_sec: float = _setting(15, "Time a receiver has to answer.", "s", ge=1, le=300)
    keep_days: float = _setting(30, "Time a delivery stays in the list after its end.", "days", gt=0, le=36_500)

    @property
    def hosts(self) -> frozenset[str]:
        """The allowed hosts, one by one."""
        return _names(self.allowed_hosts)


class OpenAI(Section):
    """The endpoints under /v1."""

    default_format: Literal["wav", "mp3", "opus", "aac", "flac", "pcm"] = _setting(
        "wav", "Format of requests without response_format; OpenAI's own is mp3."
    )
    voices: str = _setting(
        "", "What OpenAI's voices stand for, such as alloy=en_US-joe-medium, nova=me.wav, by commas."
    )

    @property
    def aliases(self) -> dict[str, str]:
        """Voices and recordings by the name that OpenAI's clients use, in lower case."""
        pairs = (pair.partition("=") for pair in self.voices.split(","))
        return {name.strip().lower(): voice.strip() for name, _, voice in pairs if name.strip() and voice.strip()}

    @field_validator("voices")
    @classmethod
    def _pairs(cls, value: str) -> str:
        for pair in value.split(","):
            name, equals, voice = pair.partition("=")
            if pair.strip() and not (name.strip() and equals and voice.strip()):
                raise ValueError(f"must be name=voice, by commas; not {pair.strip()[:40]!r}")
        return value


class Wyoming(Section):
    """Speech for Home Assistant and other clients of the Wyoming protocol. It knows no keys."""

    enabled: bool = _setting(False, "Answer Wyoming clients.")
    host: str = _setting("127.0.0.1", "Address to listen on; 0.0.0.0 opens it to the network.", min_length=1)
    port: int = _setting(10200, "TCP port to listen on.", special="0 = any free port", ge=0, le=65535)
    allowed: str = _setting(
        "", "Addresses and networks that may connect, such as 192.168.1.0/24, by commas.", special="empty = all"
    )
    announce: bool = _setting(
        True, "Let Home Assistant find it in the local network (zeroconf), unless host is this machine only."
    )
    max_text_chars: int = _setting(100_000, "Longest text of one request.", "characters", ge=1, le=10**8)

    @property
    def networks(self) -> tuple[ipaddress.IPv4Network | ipaddress.IPv6Network, ...]:
        """Who may connect; empty: everybody who can."""
        return tuple(
            ipaddress.ip_network(part.strip(), strict=False) for part in self.allowed.split(",") if part.strip()
        )

    @field_validator("allowed")
    @classmethod
    def _are_networks(cls, value: str) -> str:
        for part in filter(None, (part.strip() for part in value.split(","))):
            ipaddress.ip_network(part, strict=False)
        return value


class UI(Section):
    """The page in the browser."""

    title: str = _setting("Rhapsode", "Title of the page.")
    directory: Path | None = _setting(None, "Folder of a page of your own, served instead of the one built in.")
    show_language_select: bool = _setting(True, "Show the choice of language.")
    max_predefined_voices_in_dropdown: int = _setting(50, "Voices the page lists.", "voices", ge=1, le=100_000)


class UIState(OpenSection):
    """What the page remembers. Takes anything."""

    last_text: object = _setting("", "Last text.")
    last_voice_mode: object = _setting("predefined", "Last voice mode.")
    last_predefined_voice: object = _setting("", "Last predefined voice.")
    last_reference_file: object = _setting("", "Last reference recording.")
    last_seed: object = _setting(0, "Last seed.")
    last_chunk_size: object = _setting(120, "Last segment size.", "characters")
    last_split_text_enabled: object = _setting(True, "Whether the text was last split.")
    last_preset_name: object = _setting("", "Last preset.")
    hide_chunk_warning: object = _setting(False, "Hide the note on splitting.")
    hide_generation_warning: object = _setting(False, "Hide the note on quality.")
    theme: object = _setting("dark", "Theme of the page.")


class Debug(OpenSection):
    """The old server's switches, kept as written and without effect."""


class Settings(BaseModel):
    """All settings. Paths are absolute when they come from ``config.load_settings``."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    data_dir: Path = _setting(
        Path(),
        "Folder of everything that lasts.",
        special="unset = the user's data folder, such as ~/.local/share/rhapsode",
    )
    server: Server = Server()
    model: Model = Model()
    engine: Engine = Engine()
    engines: Engines = Engines.model_validate({})
    tts_engine: TTSEngine = TTSEngine()
    paths: Paths = Paths()
    generation_defaults: GenerationDefaults = GenerationDefaults()
    audio_output: AudioOutput = AudioOutput()
    audio_processing: AudioProcessing = AudioProcessing()
    job_queue: JobQueue = JobQueue()
    ledger: Ledger = Ledger()
    fleet: Fleet = Fleet()
    blobs: Blobs = Blobs()
    scheduler: Scheduler = Scheduler()
    limits: Limits = Limits()
    auth: Auth = Auth()
    webhooks: Webhooks = Webhooks()
    openai: OpenAI = OpenAI()
    wyoming: Wyoming = Wyoming()
    ui: UI = UI()
    ui_state: UIState = UIState()
    debug: Debug = Debug()


def sections() -> dict[str, type[Section]]:
    """The sections by name, in the order of the file."""
    found: dict[str, type[Section]] = {}
    for name, field in Settings.model_fields.items():
        if isinstance(field.annotation, type) and issubclass(field.annotation, Section):
            found[name] = field.annotation
    return found
