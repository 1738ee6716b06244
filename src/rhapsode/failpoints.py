"""Named points at which a test can end the process as ``kill -9`` would.

``RHAPSODE_FAILPOINT=take.stored`` ends it at the first pass of that point, ``take.stored:3`` at the third. Unset, which it is
for everybody but the tests, a point costs one comparison of two strings.
"""

import itertools
import os
import signal

_NAME, _, _PASS = os.environ.get("RHAPSODE_FAILPOINT", "").partition(":")
_passes = itertools.count(1)


def failpoint(name: str) -> None:
    """Die here, if that was asked for."""
    if name == _NAME and next(_passes) >= int(_PASS or 1):
        os.kill(os.getpid(), signal.SIGKILL)
