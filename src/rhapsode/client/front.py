"""The two clients. What they can do is written once, in the modules beside this one."""

from rhapsode.client import audio as _audio
from rhapsode.client import batches as _batches
from rhapsode.client import events as _events
from rhapsode.client import jobs as _jobs
from rhapsode.client import library as _library
from rhapsode.client.flow import Awaiting, Blocking, Iteration, Operation
from rhapsode.client.values import JobEvent, SegmentInfo


class _Calls:
    """What both can do. Every method raises Unreachable and ServerRefused."""

    submit = Operation(_jobs.submit)
    plan = Operation(_jobs.plan)
    status = Operation(_jobs.status)
    job = Operation(_jobs.job)
    text = Operation(_jobs.text)
    wait = Operation(_jobs.wait)
    jobs = Operation(_jobs.jobs)
    change = Operation(_jobs.change)
    keep = Operation(_jobs.keep)
    cancel = Operation(_jobs.cancel)
    purge = Operation(_jobs.purge)
    retry = Operation(_jobs.retry)
    redo = Operation(_jobs.redo)
    segments = Iteration(_jobs.segments, SegmentInfo)

    events = Iteration(_events.events, JobEvent)
    all_events = Iteration(_events.all_events, JobEvent)

    stream = Iteration(_audio.stream, bytes)
    download = Operation(_audio.download)
    download_segment = Operation(_audio.download_segment)
    subtitles = Operation(_audio.subtitles)

    submit_batch = Operation(_batches.submit_batch)
    batch = Operation(_batches.batch)
    wait_batch = Operation(_batches.wait_batch)
    cancel_batch = Operation(_batches.cancel_batch)
    purge_batch = Operation(_batches.purge_batch)
    download_batch = Operation(_audio.download_batch)

    voices = Operation(_library.voices)
    recordings = Operation(_library.recordings)
    upload_recording = Operation(_library.upload_recording)
    dictionary = Operation(_library.dictionary)
    add_words = Operation(_library.add_words)
    remove_word = Operation(_library.remove_word)
    is_alive = Operation(_library.is_alive)
    keys = Operation(_library.keys)
    create_key = Operation(_library.create_key)
    rotate_key = Operation(_library.rotate_key)
    revoke_key = Operation(_library.revoke_key)


class Client(_Calls, Blocking):
    """Speaks to one server; its methods return when it is done."""


class AsyncClient(_Calls, Awaiting):
    """Speaks to one server; its methods are awaited, or iterated with ``async for``."""
