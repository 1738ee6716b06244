"""A Ray cluster of several node processes on this machine."""

import logging
import os
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any

import psutil

_STORE_BYTES = 80_000_000


class RayCluster:
    """Nodes that can be ended and added. The first is the head."""

    def __init__(self) -> None:
        os.environ["RAY_USAGE_STATS_ENABLED"] = "0"
        # every fleet here is a driver of its own, and would have workers started ahead of need
        os.environ["RAY_prestart_worker_first_driver"] = "0"  # noqa: SIM112 - Ray's own spelling
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            from ray.cluster_utils import Cluster  # noqa: PLC0415 - it takes a second, which only these tests should

        logging.getLogger("ray").setLevel(logging.WARNING)
        self._make = partial(Cluster, shutdown_at_exit=False)
        self._cluster = self._make()

    @property
    def address(self) -> str:
        return str(self._cluster.address)

    def add_node(self, cpus: int, **how: Any) -> Any:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return self._cluster.add_node(
                num_cpus=cpus, object_store_memory=_STORE_BYTES, include_dashboard=False, **how
            )

    def kill_node(self, node: Any) -> None:
        """End a node at once, as a power cut does: all its processes get SIGKILL."""
        pids = [info.process.pid for infos in node.all_processes.values() for info in infos]
        for pid in pids:
            for process in (psutil.Process(pid), *psutil.Process(pid).children(recursive=True)):
                process.kill()
        self._cluster.remove_node(node, allow_graceful=False)

    def node_of(self, pid: int) -> Any:
        """The node that the process runs on."""
        for node in self._cluster.list_all_nodes():
            for info in node.all_processes.get("raylet", []):
                if pid in {process.pid for process in psutil.Process(info.process.pid).children(recursive=True)}:
                    return node
        raise AssertionError(f"process {pid} is on no node")

    def kill_worker(self, pid: int) -> None:
        psutil.Process(pid).kill()

    def start_again(self, address: str) -> None:
        """After :meth:`stop`: a new head at the same address."""
        self._cluster = self._make()
        self.add_node(cpus=0, gcs_server_port=int(address.rpartition(":")[2]))

    def workers(self) -> set[int]:
        """Process ids of the actors on all nodes."""
        found: set[int] = set()
        for node in self._cluster.list_all_nodes():
            for info in node.all_processes.get("raylet", []):
                for process in psutil.Process(info.process.pid).children(recursive=True):
                    if process.is_running() and process.name().startswith("ray::RayWorker"):
                        found.add(process.pid)
        return found

    def stop(self) -> None:
        self._cluster.shutdown()


@contextmanager
def running_cluster() -> Iterator[RayCluster]:
    cluster = RayCluster()
    try:
        yield cluster
    finally:
        cluster.stop()
