"""Which engines there are: the entry points of the group ``rhapsode.engines``.

Names can be listed by anyone; loading is for ``rhapsode.fleet.worker`` alone.
"""

import re
from collections.abc import Callable, Collection
from importlib.metadata import EntryPoint, PackageNotFoundError, distribution, entry_points
from typing import cast

from rhapsode.engines.base import GROUP, Engine, EngineOptions
from rhapsode.errors import EngineError

HIDDEN = frozenset({"tone"})
"""For tests: usable when named, never offered."""

CLONING = frozenset({"chatterbox", "chatterbox-multilingual", "chatterbox-turbo", "pocket"})
"""Engines of this package that clone voices: to be named without being loaded."""

EngineClass = Callable[[EngineOptions], Engine]


def engine_names(named: Collection[str] = ()) -> list[str]:
    """Names of the engines that can be chosen, sorted, without loading any.

    Args:
        named: Engines that the configuration names; the only way for a hidden one to be listed.
    """
    return sorted(name for name in _entries() if name not in HIDDEN or name in named)


def missing_packages(name: str) -> list[str]:
    """Packages that an engine needs in this interpreter and that are not here: those of its package's extra of the same name."""
    entry = _entries().get(name)
    required = (entry.dist.requires or []) if entry and entry.dist else []
    wanted = [r for r in required if re.search(rf"""extra == ['"]{re.escape(name)}['"]""", r)]
    return [package for r in wanted if not _is_installed(package := re.split(r"[^A-Za-z0-9._-]", r, maxsplit=1)[0])]


def way_to_install(name: str) -> str:
    """The command that brings an engine's packages into this interpreter."""
    entry = _entries().get(name)
    own = (entry.dist.name if entry and entry.dist else "rhapsode").lower()
    return f"pip install {own}[{name}]" if own == "rhapsode" else f"pip install {own}"


def engine_class(name: str) -> EngineClass:
    """Load the engine called ``name``. Only a worker process may: this imports model libraries.

    Raises:
        EngineError: No such engine, or its libraries are not installed; says how to get them.
    """
    entry = _entries().get(name)
    if entry is None:
        raise EngineError(f"engine {name!r} is not one of: {', '.join(engine_names())}")
    try:
        return cast(EngineClass, entry.load())
    except (ImportError, AttributeError) as error:
        raise EngineError(
            f"engine {name!r} cannot be imported ({error}); install it with: {way_to_install(name)}"
        ) from error


def _is_installed(package: str) -> bool:
    try:
        distribution(package)
    except PackageNotFoundError:
        return False
    return True


def _entries() -> dict[str, EntryPoint]:
    return {entry.name: entry for entry in entry_points(group=GROUP)}
