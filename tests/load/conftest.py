"""Servers under load are those of the fault tests: recorded, and checked when the test is over."""

from tests.faults.conftest import make_server, shim_library

__all__ = ["make_server", "shim_library"]
