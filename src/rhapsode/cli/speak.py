"""``rhapsode speak``: a text in, a file out. Interrupted or killed, the same command goes on where it was."""

import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

import click

from rhapsode.cli.connection import Connection
from rhapsode.cli.options import EXIT_INTERRUPTED, Options, human_size, human_time
from rhapsode.cli.order import FORMATS, Order, choose_output, decode, read_source
from rhapsode.cli.progress import Watcher, shown_progress
from rhapsode.client import Client, JobInfo, ServerRefused, SpeechOptions, Unreachable
from rhapsode.errors import Gone, InvalidInput, SynthesisError
from rhapsode.model import JobStatus
from rhapsode.settings import Settings

_GONE = (404, 410)


@click.command("speak")
@click.argument("what", metavar="[TEXT | FILE | -]", required=False)
@click.option("--text", help="The text itself, also when a file has that name.")
@click.option("-o", "--output", type=click.Path(path_type=Path), help="File to write; its extension says the format.")
@click.option("--format", "audio_format", type=click.Choice(sorted(set(FORMATS.values()))), help="Format of the file.")
@click.option("--voice", help="Voice to speak with; see: rhapsode voices.")
@click.option("--engine", help="Engine to speak with; see: rhapsode engines.")
@click.option("--speed", type=float, help="Speed; 2 is twice as fast.")
@click.option("--seed", type=int, help="Same seed, same samples.")
@click.option("--language", help="Language of the text, such as en; auto: told from the text.")
@click.option("--chunk-size", type=int, help="Longest segment, in characters.")
@click.option("--temperature", type=float, help="Liveliness.")
@click.option("--priority", type=click.Choice(["interactive", "normal", "batch"]), help="Who goes first.")
@click.option(
    "--input-type",
    type=click.Choice(["auto", "text", "ssml", "plain"]),
    help="plain: brackets and tags mean nothing; auto: SSML when the text begins with <speak>, else text with markers.",
)
@click.option("--ssml", "input_type", flag_value="ssml", help="The text is SSML: as --input-type ssml.")
@click.option(
    "--pronounce",
    multiple=True,
    metavar="WORD=SPOKEN",
    help="How a word of this text is spoken: SQL=sequel, or in IPA: GIF=/dʒɪf/. Can be given again.",
)
@click.option(
    "--lexicon",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="W3C lexicon (PLS) of this text; for all texts: rhapsode dictionary import.",
)
@click.option("--encoding", default="utf-8", show_default=True, help="Encoding of the file.")
@click.option("--fresh", is_flag=True, help="Forget what an earlier run of this command made, and begin anew.")
@click.pass_obj
def speak_command(
    options: Options,
    what: str | None,
    text: str | None,
    output: Path | None,
    audio_format: str | None,
    voice: str | None,
    engine: str | None,
    speed: float | None,
    seed: int | None,
    language: str | None,
    chunk_size: int | None,
    temperature: float | None,
    priority: str | None,
    input_type: str | None,
    pronounce: Sequence[str],
    lexicon: Path | None,
    encoding: str,
    fresh: bool,
) -> None:
    """Speak a text, a file or the standard input into an audio file.

    Interrupted, killed or out of power: the same command goes on where it was. Its output appears whole or not at all.
    """
    loaded = options.load()
    for warning in loaded.warnings:
        options.warn(warning)
    source = read_source(what, text, encoding, sys.stdin.buffer)
    target, chosen = choose_output(output, audio_format, loaded.settings.audio_output.format, source.name)
    how = SpeechOptions(
        voice, chosen, speed, seed, language, chunk_size, temperature, priority, engine=engine, input_type=input_type,
        pronunciations=_pronunciations(pronounce, lexicon),
    )  # fmt: skip
    order = Order(source.text, how, target)
    with Connection(options) as connection, shown_progress(options.console) as watch:
        work = Speaking(options, connection, order, order.key(_defaults(loaded.settings)), watch, fresh)
        try:
            job = work.run()
        except KeyboardInterrupt:
            work.on_interrupt()
            click.get_current_context().exit(EXIT_INTERRUPTED)
    report(options, job, target, work.is_whole)


def _pronunciations(given: Sequence[str], lexicon: Path | None) -> Mapping[str, str] | str | None:
    """The words that ``--pronounce`` or ``--lexicon`` names.

    Raises:
        InvalidInput: There are both, or a word without an equals sign.
    """
    if lexicon:
        if given:
            raise InvalidInput("--lexicon and --pronounce cannot both be given")
        return decode(lexicon.read_bytes(), lexicon.name, "utf-8")
    for one in given:
        if "=" not in one:
            raise InvalidInput(f"--pronounce: {one!r} is not WORD=SPOKEN, such as SQL=sequel")
    return {word: spoken for word, _, spoken in (one.partition("=") for one in given)} or None


class Speaking:
    """One run of the command."""

    def __init__(
        self, options: Options, connection: Connection, order: Order, key: str, watch: Watcher, fresh: bool
    ) -> None:
        self._options = options
        self._connection = connection
        self._order = order
        self._key = key
        self._watch = watch
        self._fresh = fresh
        self._job: JobInfo | None = None
        self._warned: set[str] = set()
        self.is_whole = False
        """Whether all of the job was made in this run, so that its time says something."""

    def run(self) -> JobInfo:
        """Have the order spoken and fetched, on whatever server there is at the time.

        Returns:
            The completed job.

        Raises:
            RhapsodeError: It failed, was cancelled, or was refused.
        """
        while True:
            try:
                return self._try()
            except Unreachable as error:
                self._connection.lost(error)

    def on_interrupt(self) -> None:
        """Say what becomes of the work."""
        say, job = self._options.say, self._job
        if job is None:
            say("interrupted before the work began")
        elif self._connection.is_own:
            done = f"{job.segments.done} of {job.segments.total} segments are made and kept"
            say(f"interrupted: {done}; run the same command again to go on")
        else:
            again = "the same command fetches it later"
            say(
                f"interrupted: the server goes on with job {job.job_id}; {again}, `rhapsode cancel {job.job_id}` ends it"
            )

    def _try(self) -> JobInfo:
        client = self._connection.client()
        job = self._begin(client)
        self._connection.answered()
        job = client.wait(job.job_id, self._on_status)
        if job.status is JobStatus.FAILED:
            raise SynthesisError(f"job {job.job_id} failed: {job.error}; run the same command again to try once more")
        if job.status is JobStatus.CANCELLED:
            raise Gone(f"job {job.job_id} was cancelled; run the same command again to go on")
        try:
            client.download(job.job_id, self._order.output)
        except ServerRefused as error:
            if error.status not in _GONE or self._fresh:
                raise
            self._options.warn("the finished file is no longer there; speaking it again")
            self._forget(client, job)
            self._job, self._fresh = None, True
            return self._try()
        return job

    def _begin(self, client: Client) -> JobInfo:
        """The job of this order: a new one, or the one of an earlier run."""
        seen = self._job.job_id if self._job else None
        job = client.status(client.submit(self._order.text, self._order.options, self._key))
        if seen == job.job_id:
            return job
        if self._fresh and (job.segments.done or job.status.is_terminal):
            self._forget(client, job)
            job = client.status(client.submit(self._order.text, self._order.options, self._key))
        if job.status in (JobStatus.FAILED, JobStatus.CANCELLED):
            job = client.retry(job.job_id)
        self.is_whole = not job.segments.done
        if job.status is not JobStatus.COMPLETED and job.segments.done:
            self._options.say(f"going on: {job.segments.done} of {job.segments.total} segments are there already")
        self._job = job
        return job

    @staticmethod
    def _forget(client: Client, job: JobInfo) -> None:
        try:
            client.purge(job.job_id)
        except ServerRefused as error:
            if error.status not in _GONE:
                raise

    def _on_status(self, job: JobInfo) -> None:
        self._job = job
        for warning in job.warnings:
            if warning not in self._warned:
                self._warned.add(warning)
                self._options.warn(warning)
        self._watch(job)


def report(options: Options, job: JobInfo, target: Path, is_timed: bool) -> None:
    """Say what was made: its path on the standard output, the rest for people."""
    took = (job.elapsed_sec or 0.0) if is_timed else 0.0
    parts = [f"{human_time(job.audio_seconds)} of speech", human_size(target.stat().st_size)]
    if took > 0:
        parts.append(f"made in {human_time(took)} ({job.audio_seconds / took:.1f}× real time)")
    if job.metrics.realtime_factor is not None:
        parts.append(f"RTF {job.metrics.realtime_factor:.3f}")
    parts += [f"voice {job.voice}", f"seed {job.seed}"]
    options.say(", ".join(parts))
    click.echo(target)


def _defaults(settings: Settings) -> object:
    """What decides over options that are left out: another default voice is another job."""
    names = {"engine", "tts_engine", "generation_defaults", "audio_output"}
    return settings.model_dump(mode="json", include=names)
