"""Everything at once: kills, failing writes, lost bytes, clocks and clients who change their minds, out of one seed."""

from pathlib import Path

import pytest

from tests.faults.checker import check_files, check_undisturbed
from tests.faults.conftest import MakeServer
from tests.faults.storm import SETTINGS, Storm

SEEDS = range(1, 5)
"""Of the long version; their kills together are over 200."""
FEW, MANY = 5, 50


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    metafunc.parametrize("seed", SEEDS if metafunc.config.getoption("--long") else SEEDS[:1])


@pytest.mark.timeout(300)
async def test_a_storm_of_faults_breaks_no_promise(
    make_server: MakeServer, shim_library: Path, seed: int, long: bool
) -> None:
    server = make_server("storm", SETTINGS, library=shim_library)
    await server.start()
    storm = Storm(server, seed)
    await storm.run(long)
    await check_files(server, storm.spoiled)
    same = await check_undisturbed(server, make_server("undisturbed"))
    assert same
    assert storm.kills >= (MANY if long else FEW)
    print(f"seed {seed}: {storm.kills} kills, {same} jobs as in an undisturbed run; {dict(storm.struck)}", flush=True)
