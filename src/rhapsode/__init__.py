"""Rhapsode: a text-to-speech server that never loses work."""

import importlib
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from rhapsode.model import JobStatus
    from rhapsode.queue import TTSJob, TTSJobQueue, get_job_queue

_HOMES = {
    "JobStatus": "rhapsode.model",
    "TTSJob": "rhapsode.queue",
    "TTSJobQueue": "rhapsode.queue",
    "get_job_queue": "rhapsode.queue",
}

__all__ = ["JobStatus", "TTSJob", "TTSJobQueue", "get_job_queue"]


def __getattr__(name: str) -> object:
    """Look a public name up when it is asked for, so that workers do not load the server."""
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(_HOMES[name]), name)
