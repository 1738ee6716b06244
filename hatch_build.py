"""Builds the page into the wheel."""

import sys
from pathlib import Path
from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface

sys.path.insert(0, str(Path(__file__).parent / "scripts"))

import page


class PageHook(BuildHookInterface[Any]):
    """Runs before a wheel is packed. An editable installation gets its page from scripts/setup.py."""

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        """Build the page."""
        if version != "editable":
            page.build()
