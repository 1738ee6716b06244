"""Children begun beside threads and garbage."""

import subprocess
import sys

_PROGRAM = """
import asyncio, gc, os, uvloop
from rhapsode.spawn import spawn

class Held:
    def __init__(self):
        self.itself = self
    def __del__(self):
        os.write(1, b"%d\\n" % os.getpid())

os.register_at_fork(after_in_child=lambda: [[] for _ in range(20_000)])  # as libraries do, and it makes the collector run

async def main():
    gc.collect()
    gc.freeze()
    Held()
    child = await {begin}("/bin/true")
    assert await child.wait() == 0
    assert gc.isenabled()
    gc.collect()
    os.write(1, b"%d\\n" % os.getpid())

uvloop.run(main())
"""


def _freed(begin: str) -> list[str]:
    program = _PROGRAM.format(begin=begin)
    done = subprocess.run([sys.executable, "-c", program], check=True, capture_output=True, text=True, timeout=60)
    return done.stdout.split()


def test_garbage_is_freed_by_its_own_process_alone():
    freed, parent = _freed("spawn")
    assert freed == parent


def test_the_loop_itself_frees_it_in_the_child():
    assert len(set(_freed("asyncio.create_subprocess_exec"))) == 2, "spawn() can go: uvloop has changed"
