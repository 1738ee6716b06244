"""The default layout of a fleet."""

from pathlib import Path

import pytest

from rhapsode.fleet.layout import Layout, LocalFleetOptions, default_layout
from rhapsode.fleet.local import LocalFleet


@pytest.mark.parametrize("cores", [1, 2, 16])
def test_one_single_threaded_bulk_slot_per_core_and_one_express_slot_over_all(cores: int) -> None:
    assert default_layout(cores) == Layout(bulk_slots=cores, bulk_threads=1, express_threads=cores)


def test_a_fleet_has_its_slots_before_it_has_processes(tmp_path: Path) -> None:
    fleet = LocalFleet(LocalFleetOptions("tone", tmp_path, tmp_path, bulk_slots=2, express_threads=2))
    assert [(slot.id, slot.express) for slot in fleet.slots()] == [
        ("express", True),
        ("bulk-0", False),
        ("bulk-1", False),
    ]
    assert fleet.free_slots() == []
    assert fleet.waiting_for() == "engine starting"
    with pytest.raises(ValueError, match="at least one slot"):
        LocalFleet(LocalFleetOptions("tone", tmp_path, tmp_path, bulk_slots=0))
