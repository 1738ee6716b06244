"""Which engines there are: the entry points of the group ``rhapsode.engines``.

Names can be listed by anyone; loading is for ``rhapsode.fleet.worker`` alone.
"""

from collections.abc import Callable
from importlib.metadata import EntryPoint, entry_points
from typing import cast

from rhapsode.engines.base import GROUP, Engine, EngineOptions
from rhapsode.errors import EngineError

HIDDEN = frozenset({"tone"})
"""For tests: usable when named, never offered."""

CLONING = frozenset({"chatterbox", "chatterbox-multilingual", "chatterbox-turbo", "pocket"})
"""Engines of this package that clone voices: to be named without being loaded."""

EngineClass = Callable[[EngineOptions], Engine]


def engine_names(named: str | None = None) -> list[str]:
    """Names of the engines that can be chosen, sorted, without loading any.

    Args:
        named: The engine that the configuration names; the only way for a hidden one to be listed.
    """
    return sorted(name for name in _entries() if name not in HIDDEN or name == named)


def engine_class(name: str) -> EngineClass:
    """Load the engine called ``name``. Only a worker process may: this imports model libraries.

    Raises:
        EngineError: No such engine, or its libraries are not installed; says how to get them.
    """
    entry = _entries().get(name)
    if entry is None:
        raise EngineError(f"engine {name!r} is not one of: {', '.join(engine_names(name))}")
    try:
        return cast(EngineClass, entry.load())
    except (ImportError, AttributeError) as error:
        own = (entry.dist.name if entry.dist else "rhapsode").lower()
        way_out = f"pip install {own}[{name}]" if own == "rhapsode" else f"pip install {own}"
        raise EngineError(f"engine {name!r} cannot be imported ({error}); install it with: {way_out}") from error


def _entries() -> dict[str, EntryPoint]:
    return {entry.name: entry for entry in entry_points(group=GROUP)}
