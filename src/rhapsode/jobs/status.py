"""The status of a job as every caller sees it: HTTP, events, CLI and Python."""

from datetime import UTC, datetime

from rhapsode.jobs.overview import Place
from rhapsode.model import Job, JobStatus, Markup, VoiceMode
from rhapsode.text.lexicon import as_rows

_INPUT_TYPES = {Markup.PLAIN: "plain", Markup.MARKERS: "text", Markup.SSML: "ssml"}


def iso(seconds: float | None) -> str | None:
    """ISO 8601 in UTC, or None."""
    return None if seconds is None else datetime.fromtimestamp(seconds, UTC).isoformat(timespec="milliseconds")


def _between(begin: float, end: float) -> float:
    """Seconds; none when the clock was set back meanwhile."""
    return round(max(end - begin, 0.0), 3)


def job_status(job: Job, place: Place | None, waiting_for: str | None, now: float, root: str = "") -> dict[str, object]:
    """The answer of ``GET /tts/{id}/status``.

    Args:
        job: The job as it stands in the ledger.
        place: Where it stands in the queue, when it is unfinished.
        waiting_for: Why nothing can run now, or None.
        now: Seconds since the epoch.
        root: Root path before all links.
    """
    ended = job.ended_at or now
    eta = place.eta_s if place and not job.status.is_terminal else None
    audio_s = job.samples_done / job.rate if job.rate else 0.0
    return {
        "job_id": job.id,
        "status": job.status.value,
        "progress": job.progress,
        "current_chunk": job.segments_done,
        "total_chunks": job.segments_total,
        "created_at": iso(job.created_at),
        "started_at": iso(job.started_at),
        "completed_at": iso(job.ended_at),
        "elapsed_sec": None if job.started_at is None else _between(job.started_at, ended),
        "error": job.error,
        "queue_position": place.position if place and job.status is JobStatus.QUEUED else None,
        "eta_seconds": None if eta is None else {"p50": round(eta[0], 1), "p90": round(eta[1], 1)},
        "run": job.run,
        "segments": {
            "done": job.segments_done,
            "failed": int(job.failed_segment is not None),
            "total": job.segments_total,
            "planned": job.plan_done,
        },
        "chars": {"done": job.chars_done, "total": job.text_chars},
        "audio_seconds": round(audio_s, 3),
        "metrics": {
            "queue_seconds": _between(job.created_at, job.started_at or ended),
            "synth_seconds": round(job.synth_seconds, 3),
            "realtime_factor": round(job.synth_seconds / audio_s, 4) if audio_s else None,
            "first_audio_seconds": None if job.first_audio_at is None else _between(job.created_at, job.first_audio_at),
        },
        "priority": job.priority.name.lower(),
        "tags": list(job.tags),
        "seed": job.request.seed,
        "engine": job.request.engine,
        "voice": job.request.voice,
        "voices": list(dict.fromkeys([job.request.voice, *(part.voice for part in job.request.cast)])),
        "output_format": job.request.output_format.value,
        "warnings": list(job.warnings),
        "waiting_for": None if job.status.is_terminal else waiting_for,
        "expires_at": iso(job.expires_at),
        "kept": job.kept,
        "result": None
        if job.result is None
        else {
            "bytes": job.result.size,
            "audio_seconds": round(job.result.samples / job.result.rate, 3) if job.result.rate else 0.0,
            "revision": job.result.revision,
        },
        "links": links(job.id, root),
    }


def resource(job: Job, status: dict[str, object], excerpt: str) -> dict[str, object]:
    """The answer of ``GET /tts/{id}``: the status, and what was asked for, under the names of the body that asks for it again."""
    request = job.request
    reference = request.voice_mode is VoiceMode.CLONE
    asked: dict[str, object] = {
        "voice_mode": request.voice_mode.value,
        "predefined_voice_id": None if reference else request.voice,
        "reference_audio_filename": request.voice if reference else None,
        "output_format": request.output_format.value,
        "split_text": request.split_text,
        "chunk_size": request.chunk_size,
        "language": request.language,
        "seed": request.seed,
        "priority": job.priority.name.lower(),
        "tags": list(job.tags),
        "webhook_url": job.webhook_url,
        "input_type": _INPUT_TYPES[request.markup],
        "pronunciations": as_rows(request.pronunciations),
        **request.controls,
    }
    return listed(job, status, excerpt) | {"request": asked}


def listed(job: Job, status: dict[str, object], excerpt: str) -> dict[str, object]:
    """A job in a list: its status, how its text begins, and what its batch calls it."""
    return status | {"text_excerpt": excerpt, "batch_id": job.batch_id, "custom_id": job.custom_id}


def links(job_id: str, root: str = "") -> dict[str, str]:
    """Addresses of everything about a job."""
    base = f"{root}/tts/{job_id}"
    return {
        "self": f"{base}/status",
        "job": base,
        "text": f"{base}/text",
        "result": f"{base}/result",
        "audio": f"{base}/audio",
        "segments": f"{base}/segments",
        "subtitles": f"{base}/subtitles.vtt",
        "peaks": f"{base}/peaks",
        "cancel": base,
    }
