"""Which engines the workers load, by the settings."""

from collections.abc import Mapping

from rhapsode.fleet.base import EngineChoice, EngineSetup
from rhapsode.settings import EngineRun, Settings

_MB = 1_000_000


def engine_choice(settings: Settings, installed: Mapping[str, str]) -> EngineChoice:
    """The engines that the settings name.

    Args:
        settings: Which, and how they are run.
        installed: See :attr:`Shop.installed_engines`.
    """
    named = settings.engine.others
    others = {name for name, lacks in installed.items() if not lacks} if "*" in named else set[str]()
    others |= set(named) - {"*"}
    return EngineChoice(
        engine=settings.engine.name,
        voices_dir=settings.tts_engine.predefined_voices_path,
        model_cache=settings.paths.model_cache,
        device=settings.tts_engine.device,
        default_voice=settings.tts_engine.default_voice_id or None,
        clips_dir=settings.data_dir / "clips",
        others=tuple(sorted(others - {settings.engine.name})),
        setups={name: _setup(settings.engines.run(name)) for name in settings.engines.named()},
    )


def _setup(run: EngineRun) -> EngineSetup:
    return EngineSetup(
        python=run.python or None,
        device=run.device or None,
        threads=run.threads or None,
        processes=run.processes or None,
        memory_cap_bytes=None if run.memory_cap_mb is None else run.memory_cap_mb * _MB,
    )
