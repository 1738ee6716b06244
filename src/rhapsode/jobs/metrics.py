"""What a monitoring system is told, named as Prometheus and OpenTelemetry advise. One registry per server, nothing global.

Counters and histograms are fed where things happen; what has a present value is looked up when somebody asks. Labels have few values, whatever
is sent to the server: no ids, no paths, no texts.
"""

import importlib.metadata
import platform
import time
from collections.abc import Callable, Iterable, Mapping

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram
from prometheus_client.core import CounterMetricFamily, Metric
from prometheus_client.exposition import choose_encoder
from prometheus_client.process_collector import ProcessCollector
from prometheus_client.registry import Collector

from rhapsode.model import Event, JobStatus, Take

_QUICK_S = (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 10)
_SPEECH_S = (0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 20, 40, 80, 160)
_WAIT_S = (0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 300, 1_800, 7_200, 43_200)
_FACTORS = (0.01, 0.025, 0.05, 0.1, 0.2, 0.35, 0.5, 0.75, 1, 1.5, 2.5, 5, 10)
_HTTP_S = (0.005, 0.01, 0.025, 0.05, 0.075, 0.1, 0.25, 0.5, 0.75, 1, 2.5, 5, 7.5, 10)
"""OpenTelemetry's advice for ``http.server.request.duration``."""
_METHODS = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})
_ENDS = {f"job.{status.value}": status.value for status in JobStatus if status.is_terminal}
_COUNTS_S = 10.0
"""How long counts of the whole ledger are good for: they cost a walk over an index."""


class Metrics:
    """All instruments of one server. Used from its event loop; :meth:`committed` from the ledger's thread too."""

    def __init__(self) -> None:
        self.registry = registry = CollectorRegistry()
        ProcessCollector(registry=registry)
        version = importlib.metadata.version("rhapsode")
        build = Gauge("rhapsode_build_info", "What runs.", ("version", "python"), registry=registry)
        build.labels(version, platform.python_version()).set(1)
        self.jobs = Gauge("rhapsode_jobs", "Jobs in the ledger.", ("status",), registry=registry)
        self.queue_jobs = Gauge("rhapsode_queue_jobs", "Unfinished jobs of this node.", registry=registry)
        self.queue_chars = Gauge("rhapsode_queue_characters", "Characters left to be spoken.", registry=registry)
        self.workers = Gauge("rhapsode_workers", "Worker slots.", ("kind", "state"), registry=registry)
        self.ready = Gauge(
            "rhapsode_ready", "Whether this part can take work, as in /readyz.", ("check",), registry=registry
        )
        self.disk_free = Gauge("rhapsode_disk_free_bytes", "Free space.", ("store",), registry=registry)
        self._ends = Counter("rhapsode_jobs_ended", "Jobs that ended.", ("status",), registry=registry)
        self._first_audio = Histogram(
            "rhapsode_job_first_audio_seconds", "From submit to the first audio (TTFA), of completed jobs.",
            ("priority",), buckets=_WAIT_S, registry=registry,
        )  # fmt: skip
        self._queued = Histogram(
            "rhapsode_job_queue_seconds", "From submit to start, of completed jobs.",
            ("priority",), buckets=_WAIT_S, registry=registry,
        )  # fmt: skip
        self._segments = Counter(
            "rhapsode_segments",
            "Attempts at segments: spoken, reused, failed or lost.",
            ("outcome",),
            registry=registry,
        )
        self._synthesis = Histogram(
            "rhapsode_segment_synthesis_seconds", "Worker time per segment.", buckets=_SPEECH_S, registry=registry
        )
        self._factor = Histogram(
            "rhapsode_segment_realtime_factor", "Worker time per second of audio.", buckets=_FACTORS, registry=registry
        )
        self._audio = Counter("rhapsode_audio_seconds", "Audio that was spoken.", registry=registry)
        self._commits = Histogram(
            "rhapsode_ledger_commit_seconds",
            "One transaction of the ledger, made durable.",
            buckets=_QUICK_S,
            registry=registry,
        )
        self._removed = Counter("rhapsode_swept", "What was cleaned up.", ("kind",), registry=registry)
        self._sweep = Gauge("rhapsode_last_sweep_timestamp_seconds", "When cleaning up last ended.", registry=registry)
        self._http = Histogram(
            "http_server_request_duration_seconds", "Requests, streams to their end.",
            ("http_request_method", "http_route", "http_response_status_code"), buckets=_HTTP_S, registry=registry,
        )  # fmt: skip
        self._counts: Mapping[JobStatus, int] = {}
        self._counted_at = -_COUNTS_S
        for status in _ENDS.values():
            self._ends.labels(status)
        for outcome in ("spoken", "reused", "failed", "lost"):
            self._segments.labels(outcome)

    # -- fed ----------------------------------------------------------------------------------------------------

    def heard(self, event: Event) -> None:
        """An event was committed."""
        if event.type == "segment.completed":
            self._segments.labels("reused" if event.data.get("cached") else "spoken").inc()
        elif event.type in {"segment.failed", "segment.lost"}:
            self._segments.labels(event.type.removeprefix("segment.")).inc()
        elif status := _ENDS.get(event.type):
            self._ends.labels(status).inc()
            job = event.job
            if job is not None and job.status is JobStatus.COMPLETED and job.started_at and job.run == 1:
                priority = job.priority.name.lower()
                self._queued.labels(priority).observe(max(job.started_at - job.created_at, 0.0))
                if job.first_audio_at:
                    self._first_audio.labels(priority).observe(max(job.first_audio_at - job.created_at, 0.0))

    def spoken(self, take: Take) -> None:
        """A worker spoke a segment."""
        audio_s = take.samples / take.rate
        self._synthesis.observe(take.synth_seconds)
        self._audio.inc(audio_s)
        if audio_s:
            self._factor.observe(take.synth_seconds / audio_s)

    def committed(self, seconds: float) -> None:
        """The ledger made a transaction durable."""
        self._commits.observe(seconds)

    def swept(self, removed: Mapping[str, int], now: float) -> None:
        """A round of cleaning up ended, at ``now`` (seconds since the epoch)."""
        for kind, count in removed.items():
            self._removed.labels(kind).inc(count)
        self._sweep.set(now)

    def answered(self, method: str, route: str, status: int, seconds: float) -> None:
        """A request was answered; ``route`` is its template, never an address."""
        self._http.labels(method if method in _METHODS else "_OTHER", route, str(status)).observe(seconds)

    def counts_deaths(self, deaths: Callable[[], int]) -> None:
        """Tell of workers that ended by themselves; ``deaths`` is how many it were so far."""
        self.registry.register(_Deaths(deaths))

    # -- asked --------------------------------------------------------------------------------------------------

    def counts_are_old(self) -> bool:
        """Whether the counts of the ledger are to be looked up again."""
        return time.monotonic() - self._counted_at >= _COUNTS_S

    def counted(self, counts: Mapping[JobStatus, int]) -> None:
        """What the ledger holds."""
        self._counted_at = time.monotonic()
        for status in JobStatus:
            self.jobs.labels(status.value).set(counts.get(status, 0))

    def text(self, accept: str) -> tuple[bytes, str]:
        """Everything in the form that the Accept header asks for, and its media type."""
        encode, media_type = choose_encoder(accept)
        return encode(self.registry), media_type


class _Deaths(Collector):
    def __init__(self, deaths: Callable[[], int]) -> None:
        self._deaths = deaths

    def collect(self) -> Iterable[Metric]:
        """The one family."""
        family = CounterMetricFamily("rhapsode_worker_deaths", "Worker processes that ended by themselves or hung.")
        family.add_metric((), self._deaths())
        yield family
