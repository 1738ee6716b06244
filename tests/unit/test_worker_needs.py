"""What interpreters of engines' own must have: all that a worker imports, before it imports its engine."""

import subprocess
import sys

from rhapsode.environment import WORKER_NEEDS

LACKING = """
import sys

class Nothing:
    def find_spec(self, name, path=None, target=None):
        top = name.partition(".")[0]
        if top not in sys.stdlib_module_names and top not in ("rhapsode", *sys.argv[1:]):
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)

sys.meta_path.insert(0, Nothing())
import rhapsode.fleet.worker, rhapsode.engines.recordings
"""


def imported_with(*packages: str) -> str:
    """What goes wrong when a worker is imported where only these packages are."""
    command = [sys.executable, "-P", "-c", LACKING, *packages]
    return subprocess.run(command, capture_output=True, text=True, check=False).stderr


def test_a_worker_imports_nothing_that_its_interpreter_may_lack() -> None:
    assert imported_with(*WORKER_NEEDS) == "", "add it to WORKER_NEEDS and to tests/pocket_versions.txt"
    assert "No module named 'av'" in imported_with(*set(WORKER_NEEDS) - {"av"})
