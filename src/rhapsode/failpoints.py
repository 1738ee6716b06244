"""Named points at which a test can end the process as ``kill -9`` would.

``RHAPSODE_FAILPOINT=take.stored`` ends it at the first pass of that point, ``take.stored:3`` at the third; several points are
separated by commas. Unset, which it is for everybody but the tests, a point costs one look into an empty table.
"""

import os
import signal

_asked = [point.partition(":") for point in os.environ.get("RHAPSODE_FAILPOINT", "").split(",") if point]
_passes_left = {name: int(count or 1) for name, _, count in _asked}


def failpoint(name: str) -> None:
    """Die here, if that was asked for."""
    if name in _passes_left:
        _passes_left[name] -= 1
        if _passes_left[name] <= 0:
            os.kill(os.getpid(), signal.SIGKILL)
