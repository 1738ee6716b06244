"""``rhapsode bench``: how fast this machine speaks, through the queue."""

import itertools
import tempfile
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import click

from rhapsode.cli.connection import OwnServer
from rhapsode.cli.options import Options, human_time, print_json
from rhapsode.cli.progress import shown_progress
from rhapsode.client import Client, JobInfo, SpeechOptions
from rhapsode.config import Loaded
from rhapsode.datadir import running_url
from rhapsode.errors import SynthesisError
from rhapsode.model import JobStatus
from rhapsode.settings import Settings

_WHO = ("The old captain", "My neighbour", "A tired student", "The night watchman", "Her youngest brother",
        "The village baker", "An unknown painter")  # fmt: skip
_DID = ("carried a heavy lantern", "wrote a long letter", "forgot the way home", "told the same story again",
        "repaired the broken clock")  # fmt: skip
_WHERE = ("along the quiet river", "behind the railway station", "before the rain began", "in the middle of the market",
          "while the others were asleep", "until somebody opened the door", "under a pale winter sun",
          "beside the empty fountain", "after the last train had left", "near the edge of the forest",
          "without saying a word")  # fmt: skip
_PARAGRAPH = 6


@dataclass(frozen=True, slots=True)
class Figures:
    """What was measured. Times in seconds."""

    engine: str
    voice: str
    chars: int
    audio_seconds: float
    wall_seconds: float
    """From the first segment's start to the finished file."""
    chars_per_second: float
    realtime: float
    """Seconds of audio per second."""
    first_audio_seconds: float | None
    """From submit to the first take."""
    rtf: float | None
    """Synthesis seconds per second of audio, on one worker."""


@click.command("bench")
@click.option("--chars", type=click.IntRange(50, 385_000), default=6_000, show_default=True, help="Length of the text.")
@click.option("--voice", help="Voice to speak with.")
@click.option("--json", "as_json", is_flag=True, help="For programs.")
@click.pass_obj
def bench_command(options: Options, chars: int, voice: str | None, as_json: bool) -> None:
    """Speak a fixed text through the queue and tell how fast it went.

    Uses a data directory of its own, and nothing from the cache; with --server, that server.
    """
    text = bench_text(chars)
    if options.server:
        with Client(options.server, api_key=options.api_key) as client:
            figures = measure(options, client, text, voice)
    else:
        loaded = options.load()
        settings = loaded.settings
        if running_url(settings.data_dir):
            options.warn("a server is running here; what it does slows this down")
        with tempfile.TemporaryDirectory(prefix="rhapsode-bench-") as folder:
            figures = _measure_alone(options, replace(loaded, settings=_moved(settings, Path(folder))), text, voice)
    if as_json:
        print_json(asdict(figures))
        return
    first = "none" if figures.first_audio_seconds is None else f"{figures.first_audio_seconds * 1000:.0f} ms"
    click.echo(f"engine      {figures.engine}, voice {figures.voice}")
    click.echo(f"text        {figures.chars:,} characters, {human_time(figures.audio_seconds)} of speech")
    click.echo(f"speed       {figures.chars_per_second:,.0f} characters/s, {figures.realtime:.1f}× real time")
    click.echo(f"first sound {first} after submit")
    click.echo(f"RTF         {'unknown' if figures.rtf is None else f'{figures.rtf:.3f}'} on one worker")


def bench_text(chars: int) -> str:
    """Plain sentences, no two alike, cut at a sentence's end before ``chars`` characters where there is one; always the same."""
    combinations = itertools.product(_WHERE, _DID, _WHO)
    numbers = itertools.count(1)
    parts: list[str] = []
    length = 0
    for number, (where, did, who) in zip(numbers, itertools.cycle(combinations), strict=False):
        lap = number // (len(_WHERE) * len(_DID) * len(_WHO))
        sentence = f"{who} {did} {where}{f', for the time number {lap + 1}' if lap else ''}."
        end = "\n\n" if number % _PARAGRAPH == 0 else " "
        if length + len(sentence) > chars and parts:
            break
        parts.append(sentence + end)
        length += len(sentence) + len(end)
    return "".join(parts).strip()


def measure(options: Options, client: Client, text: str, voice: str | None) -> Figures:
    """Speak ``text`` on a server and read its measurements.

    Raises:
        SynthesisError: The job did not complete.
    """
    job_id = client.submit(text, SpeechOptions(predefined_voice_id=voice, output_format="wav", seed=1))
    try:
        with shown_progress(options.console) as watch:
            job = client.wait(job_id, watch)
    except KeyboardInterrupt:
        client.cancel(job_id)
        raise
    if job.status is not JobStatus.COMPLETED:
        raise SynthesisError(f"the job ended as {job.status}: {job.error}")
    client.purge(job_id)
    return _figures(job)


def _figures(job: JobInfo) -> Figures:
    wall = max(job.elapsed_sec or 0.0, 0.001)
    return Figures(
        engine=job.engine,
        voice=job.voice,
        chars=job.chars.total,
        audio_seconds=job.audio_seconds,
        wall_seconds=wall,
        chars_per_second=round(job.chars.total / wall, 1),
        realtime=round(job.audio_seconds / wall, 2),
        first_audio_seconds=job.metrics.first_audio_seconds,
        rtf=job.metrics.realtime_factor,
    )


def _measure_alone(options: Options, loaded: Loaded, text: str, voice: str | None) -> Figures:
    server = OwnServer(loaded)
    try:
        with Client(server.url) as client:
            return measure(options, client, text, voice)
    finally:
        server.stop()


def _moved(settings: Settings, folder: Path) -> Settings:
    """The same settings on an empty data directory; models and voices stay where they are."""
    queue = settings.job_queue.model_copy(update={"output_path": folder / "outputs"})
    return settings.model_copy(update={"data_dir": folder, "job_queue": queue})
