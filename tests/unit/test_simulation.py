"""The simulation runs with the scheduler there is, and shows what it must: full workers, shares alike, short waits."""

import pytest

import rhapsode.jobs.runner as runner_module
from bench._simulated import Costs, SimJoiner, VirtualLoop
from bench.simulate import simulate


def test_a_small_cluster_is_busy_and_fair(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(runner_module, "Joiner", SimJoiner)
    costs = Costs(commit=0.001, command=0.0002, driver=0.0007, network=0.0024, store=0.01, speak=2.0)
    loop = VirtualLoop()
    try:
        row = loop.run_until_complete(simulate(20, 2_000, 100, costs, seed=1))
    finally:
        loop.close()
    assert (row.segments, row.workers, row.jobs) == (2_000, 20, 20)
    assert row.loads["workers"] > 0.95
    assert row.bottleneck == "workers"
    assert row.fairness > 0.7
    assert row.short_p95 < 2.0
