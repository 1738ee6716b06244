"""Everything at once: kills, failing writes, lost bytes, clocks and clients who change their minds, out of one seed."""

import itertools
from pathlib import Path

import pytest

from tests.faults.checker import check_files, check_undisturbed
from tests.faults.conftest import MakeServer
from tests.faults.storm import SETTINGS, Storm

KILLS = 200
"""Of the long version: storms with ever new seeds until there were so many."""
FEW = 5


@pytest.mark.timeout(300)
async def test_a_storm_of_faults_breaks_no_promise(make_server: MakeServer, shim_library: Path, long: bool) -> None:
    kills, jobs = 0, 0
    for seed in itertools.count(1):
        server = make_server(f"storm-{seed}", SETTINGS, library=shim_library)
        await server.start()
        storm = Storm(server, seed)
        await storm.run(long)
        await check_files(server, storm.spoiled)
        same = await check_undisturbed(server, make_server(f"undisturbed-{seed}"))
        assert same
        assert storm.kills >= FEW
        kills, jobs = kills + storm.kills, jobs + same
        print(f"{kills} kills, {jobs} jobs as in an undisturbed run; seed {seed}: {dict(storm.struck)}", flush=True)
        if kills >= KILLS or not long:
            break
