"""Child processes for asyncio, begun without Python's garbage collector.

uvloop forks, and runs Python's fork handlers in the child before it becomes another program. Were garbage collected there, what holds
threads (a codec of libav) would wait for ever for threads that the child does not have, and the parent for its child.
"""

import asyncio
import gc
from typing import Any


async def spawn(*command: str, **options: Any) -> asyncio.subprocess.Process:
    """``asyncio.create_subprocess_exec``, which forks before it lets anything else run."""
    collecting = gc.isenabled()
    gc.disable()
    try:
        return await asyncio.create_subprocess_exec(*command, **options)
    finally:
        if collecting:
            gc.enable()
