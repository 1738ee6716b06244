"""One worker of a Ray fleet as the server sees it: hired, given files and engines, asked to speak, fired."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from rhapsode.errors import EngineError, RhapsodeError
from rhapsode.fleet import protocol
from rhapsode.fleet.base import EngineChoice, EngineDescription, EngineSetup, SynthesisTask
from rhapsode.fleet.common import EXPRESS_NICE
from rhapsode.fleet.ray_link import Link
from rhapsode.fleet.ray_protocol import Hire


@dataclass(frozen=True, slots=True, kw_only=True)
class RayFleetOptions(EngineChoice):
    """Which engines a Ray fleet has, and how it is laid out. Times in seconds."""

    address: str = "auto"
    """``auto``, ``host:port``, or ``local`` for a cluster of its own."""
    namespace: str = "rhapsode"
    min_workers: int = 1
    max_workers: int = 8
    express: bool = True
    """One more worker for interactive work; it shares processors with the others."""
    cpus: float = 1.0
    gpus: float = 0.0
    resources: Mapping[str, Mapping[str, float]] = field(default_factory=dict)
    """Custom resources that a worker takes, by engine; those of every engine under the empty name."""
    node_cache: str = ""
    """Folder for files on the nodes; empty: in their temporary folder."""
    threads: int = 1
    express_threads: int = 0
    """0: all of its node."""
    nice: int = 10
    start_timeout_s: float = 120.0
    deadline_base_s: float = 30.0
    deadline_per_char_s: float = 1.0
    memory_cap_bytes: int | None = None
    idle_s: float = 60.0
    """A worker beyond ``min_workers`` without work for so long ends."""
    backoff_base_s: float = 0.5
    backoff_max_s: float = 15.0


class HiredWorker:
    """A worker. Every request raises what :class:`rhapsode.fleet.ray_link.Link` raises.

    Args:
        link: The way to it.
        name: Of this one and no other.
        engine: That it is hired for.
        express: For interactive work.
        options: Of its fleet.
    """

    def __init__(self, link: Link, name: str, engine: str, express: bool, options: RayFleetOptions) -> None:
        self.name = name
        self.host = ""
        self.pid = 0
        self.warm: frozenset[tuple[str, str]] = frozenset()
        self.rss_bytes = 0
        self._link = link
        self._express = express
        self._options = options
        self._kind = self._kind_for(engine)
        self._engines: set[str] = set()
        self._files = 0

    def _setup(self, engine: str) -> EngineSetup:
        return self._options.setups.get(engine, EngineSetup())

    def _kind_for(self, engine: str) -> tuple[str | None, Mapping[str, float]]:
        """Interpreter and custom resources of a worker for this engine."""
        resources = self._options.resources
        return self._setup(engine).python, {**resources.get("", {}), **resources.get(engine, {})}

    def could_hold(self, engine: str) -> bool:
        """Whether its process and its place do for this engine."""
        return self._kind_for(engine) == self._kind

    @property
    def _cpus(self) -> float:
        return 0.0 if self._express else self._options.cpus

    @property
    def needs(self) -> str:
        """What a node must have free; for people."""
        needs = {"CPU": self._cpus, "GPU": self._options.gpus, **self._kind[1]}
        return ", ".join(f"{amount:g} {name}" for name, amount in needs.items() if amount) or "nothing"

    async def hire(self) -> None:
        """Have it placed, however long the cluster has no room."""
        python, resources = self._kind
        options = self._options
        hired = await self._link.hire(
            self.name, Hire(0, self.name, self._cpus, options.gpus, resources, python, options.node_cache)
        )
        self.host, self.pid = hired.host, hired.pid

    def fire(self, verdict: RhapsodeError) -> None:
        """End it now; what it holds fails with ``verdict``."""
        self._link.fire(self.name, verdict)

    async def equip(self, engine: str, files: int) -> None:
        """Have the engine running, with the voices that there are now.

        Args:
            engine: Which.
            files: Number of the present state of the voices.
        """
        if engine in self._engines and self._files == files:
            return
        options = self._options
        voices = await self._link.share(self.name, "voices", str(options.voices_dir))
        if engine not in self._engines:
            setup = self._setup(engine)
            models = await self._link.share(self.name, "models", str(options.model_cache))
            clips = await self._link.share(self.name, "clips", str(options.clips_dir or options.voices_dir), ())
            start = protocol.Start(
                id=0,
                engine=engine,
                threads=options.express_threads if self._express else setup.threads or options.threads,
                voices_dir=voices,
                model_cache=models,
                device=setup.device or options.device,
                nice=min(EXPRESS_NICE, options.nice) if self._express else options.nice,
                heartbeat_s=0.0,
                clips_dir=clips,
            )
            await self._link.ask(self.name, engine, start, protocol.Ready, options.start_timeout_s)
            self._engines.add(engine)
        self._files = files

    async def describe(self, engine: str) -> EngineDescription:
        """What an engine that it holds can do now."""
        asked = protocol.Describe(0)
        answer = await self._link.ask(self.name, engine, asked, protocol.Described, self._options.start_timeout_s)
        return EngineDescription(answer.info, answer.voices)

    async def load_default(self, engine: str, description: EngineDescription) -> None:
        """Load the fleet's default voice, or the engine's first when there is no such voice."""
        voices, wanted = description.voices, self._options.default_voice
        voice = next((v for v in voices if wanted in (v.id, v.filename)), voices[0] if voices else None)
        if voice is not None:
            await self._load(engine, voice.id)

    async def _load(self, engine: str, voice: str) -> None:
        asked = protocol.Load(0, voice)
        await self._link.ask(self.name, engine, asked, protocol.Loaded, self._options.start_timeout_s)
        self.warm |= {(engine, voice)}

    async def speak(self, task: SynthesisTask) -> protocol.Rendered:
        """Speak one segment within its deadline, with an engine that it holds."""
        reference = await self._clip(task.reference) if task.reference is not None else None
        if reference is None and task.warmth not in self.warm:
            await self._load(task.engine, task.voice)
        asked = protocol.Synthesise(
            0, task.text, task.voice, task.seed, task.controls, task.language, task.sentence_pause_s, reference
        )
        deadline_s = self._options.deadline_base_s + self._options.deadline_per_char_s * len(task.text)
        rendered = await self._link.ask(self.name, task.engine, asked, protocol.Rendered, deadline_s)
        self.warm |= {task.warmth}
        self.rss_bytes = rendered.rss_bytes
        return rendered

    async def _clip(self, digest: str) -> str:
        """Where on its node the clip lies that is to be cloned."""
        folder = self._options.clips_dir
        if folder is None:
            raise EngineError("nothing can be cloned: the fleet has no folder of clips")
        name = f"{digest}.wav"
        return f"{await self._link.share(self.name, 'clips', str(folder), (name,))}/{name}"
