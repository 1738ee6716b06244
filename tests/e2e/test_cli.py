"""The command line as a user has it, with real servers and the deterministic engine. Whatever a signal hits is a process of its own;
what only ends with an exit status is called in this one, because the start of a process is most of the time it takes."""

import asyncio
import io
import json
import os
import signal
import socket
import subprocess
import sys
import time
import wave
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import chdir, redirect_stderr, redirect_stdout
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar
from unittest.mock import patch

import av
import psutil
import pytest

from rhapsode.cli import entry
from rhapsode.client import Client, JobInfo
from rhapsode.compose import open_shop
from rhapsode.config import load_settings
from rhapsode.datadir import DataDirLock, running_url
from rhapsode.engines.tone import CHAR_SAMPLES
from rhapsode.model import JobStatus

ROOT = Path(__file__).parents[2]
ENV: Mapping[str, str] = {
    "RHAPSODE_ENGINE__NAME": "tone",
    "RHAPSODE_ENGINE__ALSO": "",
    "RHAPSODE_FLEET__BULK_SLOTS": "2",
    "RHAPSODE_FLEET__EXPRESS_THREADS": "-1",
    "RHAPSODE_LIMITS__MIN_FREE_DISK_MB": "0",
    "RHAPSODE_SERVER__PORT": "0",
    "COLUMNS": "100",
}
T = TypeVar("T")

PATIENCE_S = 40.0
LOOK_S = 0.01


@dataclass(frozen=True, slots=True)
class Done:
    """What a command printed."""

    stdout: str
    stderr: str


def command(folder: Path, *arguments: str) -> list[str]:
    """The command line of ``rhapsode`` with its data under ``folder``."""
    entry = [sys.executable, "-c", "from rhapsode.cli import entry; entry()"]
    return [*entry, "--data-dir", str(folder / "data"), *arguments]


def environment(changes: Mapping[str, str]) -> dict[str, str]:
    kept = {name: value for name, value in os.environ.items() if not name.startswith("RHAPSODE_")}
    return kept | dict(ENV) | dict(changes)


def run(folder: Path, *arguments: str, status: int = 0, data: bytes = b"", **env: str) -> Done:
    """Run in this process to the end; what is not the expected exit status, or a traceback, is an error."""
    out, err = io.StringIO(), io.StringIO()
    with (
        patch.dict(os.environ, environment(env), clear=True),
        patch.object(sys, "argv", ["rhapsode", "--data-dir", str(folder / "data"), *arguments]),
        patch.object(sys, "stdin", io.TextIOWrapper(io.BytesIO(data))),
        chdir(folder),
        redirect_stdout(out),
        redirect_stderr(err),
        pytest.raises(SystemExit) as ended,
    ):
        entry()
    done = Done(out.getvalue(), err.getvalue())
    assert (ended.value.code or 0) == status, done
    assert "Traceback" not in done.stderr
    return done


def begin(folder: Path, *arguments: str, **env: str) -> subprocess.Popen[str]:
    """Start, as a terminal would: with signals that act."""
    return subprocess.Popen(
        command(folder, *arguments), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, cwd=folder,
        env=environment(env), preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler),
    )  # fmt: skip


def until(condition: Callable[[], T | None], what: str) -> T:
    """The first true answer of ``condition``."""
    deadline = time.monotonic() + PATIENCE_S
    while time.monotonic() < deadline:
        if found := condition():
            return found
        time.sleep(LOOK_S)
    raise AssertionError(f"not within {PATIENCE_S:g} s: {what}")


def seen(folder: Path, segments: int) -> JobInfo:
    """The newest job, once it runs and has so many segments."""

    def look() -> JobInfo | None:
        url = running_url(folder / "data")
        if url is None:
            return None
        with Client(url) as client:
            jobs = client.jobs(JobStatus.RUNNING, 1).jobs
        return next((job for job in jobs if job.segments.done >= segments), None)

    return until(look, f"{segments} segments")


def segments_of(folder: Path, job_id: str) -> dict[int, tuple[int, str | None]]:
    """Attempts and take of each segment, from the ledger itself; nothing else may hold the data directory."""
    settings = load_settings(None, folder / "data", env=ENV).settings

    async def read() -> dict[int, tuple[int, str | None]]:
        async with open_shop(settings) as shop:
            states = await shop.ledger.segments(job_id, limit=1000)
        return {s.segment.index: (s.attempt, s.take.digest if s.take else None) for s in states}

    with DataDirLock(folder / "data"):
        return asyncio.run(read())


def jobs(folder: Path, *arguments: str) -> list[dict[str, Any]]:
    return list(json.loads(run(folder, "jobs", "--json", *arguments).stdout))


def frames(path: Path) -> int:
    with wave.open(str(path)) as file:
        return int(file.getnframes())


def alive(processes: Sequence[psutil.Process]) -> list[psutil.Process]:
    return [p for p in processes if p.is_running() and p.status() != psutil.STATUS_ZOMBIE]


def book(sentences: int) -> str:
    return " ".join(f"Sentence number {n} tells a little of the story." for n in range(sentences))


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A folder on whose data directory a server runs."""
    folder = tmp_path_factory.mktemp("served")
    process = begin(folder, "serve")
    until(lambda: running_url(folder / "data"), "the server answers")
    yield folder
    children = psutil.Process(process.pid).children(recursive=True)
    process.send_signal(signal.SIGTERM)
    _, err = process.communicate(timeout=PATIENCE_S)
    assert process.returncode == 0, err
    assert "Traceback" not in err
    assert alive(children) == []
    assert (folder / "data" / "server.lock").read_bytes() == b""


# -- speak, by itself -------------------------------------------------------------------------------------------------


def test_engines_that_were_not_ready_yet_when_it_is_done_are_not_told_of(tmp_path: Path) -> None:
    done = run(tmp_path, "speak", "Hi.", "-o", "a.wav", "--voice", "tone", RHAPSODE_ENGINE__ALSO="kokoro")
    assert "WARNING" not in done.stderr


def test_text_becomes_a_file_and_a_second_time_it_is_only_fetched(tmp_path: Path):
    text = "Hello world. This is a test."
    arguments = ("speak", text, "-o", "a.wav", "--voice", "tone-chars", "--seed", "5")
    first = run(tmp_path, *arguments)
    assert first.stdout == f"{tmp_path / 'a.wav'}\n"
    assert "seed 5" in first.stderr
    assert frames(tmp_path / "a.wav") > CHAR_SAMPLES * len(text)
    before = (tmp_path / "a.wav").read_bytes()
    run(tmp_path, *arguments)
    assert (tmp_path / "a.wav").read_bytes() == before
    [job] = jobs(tmp_path)
    assert (job["status"], job["seed"], job["run"]) == ("completed", 5, 1)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.wav", "data"]


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGKILL])
def test_interrupted_or_killed_it_goes_on_where_it_was(tmp_path: Path, number: signal.Signals):
    (tmp_path / "book.txt").write_text(book(24), encoding="utf-8-sig")
    arguments = ("speak", "book.txt", "-o", "book.mp3", "--voice", "tone-slow", "--chunk-size", "60")
    process = begin(tmp_path, *arguments)
    job = seen(tmp_path, 4)
    children = psutil.Process(process.pid).children(recursive=True)
    assert len(children) >= 3
    process.send_signal(number)
    out, err = process.communicate(timeout=PATIENCE_S)
    assert out == ""
    assert "Traceback" not in err
    if number is signal.SIGINT:
        assert process.returncode == 130
        assert "run the same command again to go on" in err
        assert alive(children) == []
    else:
        until(lambda: not alive(children), "its processes are gone")
    assert not (tmp_path / "book.mp3").exists()
    before = segments_of(tmp_path, job.job_id)
    done = {index: state for index, state in before.items() if state[1]}
    assert 4 <= len(done) < 24

    again = run(tmp_path, *arguments)
    assert "going on:" in again.stderr
    assert again.stdout == f"{tmp_path / 'book.mp3'}\n"
    [finished] = jobs(tmp_path)
    assert (finished["job_id"], finished["status"]) == (job.job_id, "completed")
    after = segments_of(tmp_path, job.job_id)
    assert {index: after[index] for index in done} == done
    assert len(after) == 24
    with av.open(str(tmp_path / "book.mp3")) as file:
        assert (file.duration or 0) / av.time_base == pytest.approx(finished["audio_seconds"] + 24 * 0.35, rel=0.1)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["book.mp3", "book.txt", "data"]


def test_two_at_once_on_one_data_directory_both_end_well(tmp_path: Path):
    """Both look for a server and find none; one starts it, and the other goes on by itself when that one has ended."""
    short = begin(tmp_path, "speak", book(8), "-o", "short.wav", "--voice", "tone-slow")
    long = begin(tmp_path, "speak", book(24), "-o", "long.wav", "--voice", "tone-slow")
    for process in (short, long):
        _, err = process.communicate(timeout=PATIENCE_S)
        assert process.returncode == 0, err
        assert "Traceback" not in err
    assert frames(tmp_path / "short.wav") < frames(tmp_path / "long.wav")
    assert [(job["status"], job["run"]) for job in jobs(tmp_path)] == [("completed", 1)] * 2


# -- with a server running --------------------------------------------------------------------------------------------


def test_standard_input_with_a_mark_in_another_format(served: Path):
    run(served, "speak", "-", "-o", "in.opus", data=b"\xef\xbb\xbfWords from a pipe.")
    assert (served / "in.opus").read_bytes().startswith(b"OggS")
    assert jobs(served, "--limit", "1")[0]["chars"]["total"] == len("Words from a pipe.")


def test_a_name_is_found_for_the_output_but_nothing_is_replaced_unasked(served: Path):
    assert run(served, "speak", "A name is found!").stdout == f"{served / 'a-name-is-found.wav'}\n"
    refused = run(served, "speak", "A name is found!", status=1)
    assert "is there already; to replace it say: -o" in refused.stderr


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("speak", "Hi.", "-o", "x.wav", "--voice", "nobody"), "predefined_voice_id: there is no voice 'nobody'; there are tone,"),
        (("speak", "Hi.", "-o", "x.wav", "--chunk-size", "7"), "chunk_size"),
        (("speak", "Hi.", "-o", "x.wav", "--speed", "9"), "speed_factor"),
        (("speak", "Hi.", "-o", "nowhere/x.wav"), "there is no folder"),
        (("speak", "Hi.", "-o", "x.doc"), "does not end in .wav, .mp3"),
        (("speak", "missing.txt", "-o", "x.wav"), "there is no file missing.txt"),
        (("speak", "  ", "-o", "x.wav"), "nothing to speak"),
        (("cancel", "no-such-job"), "there is no job 'no-such-job'"),
        (("serve",), "holds"),
        (("voices", "install", "Emily.wav"), "is not the name of a Piper voice"),
        (("voices", "remove", "af_heart"), "was not fetched from the hub; those that were: none"),
        (("speak", "Hi.", "-o", "x.wav", "--engine", "festival"), "there is no engine 'festival' here; there are tone"),
        (("--server", "http://127.0.0.1:9", "speak", "Hi.", "-o", "x.wav"), "no answer from http://127.0.0.1:9"),
        (("--server", "nonsense", "jobs"), "is not the address of a server"),
    ],
)  # fmt: skip
def test_errors_are_one_line_and_leave_nothing(served: Path, arguments: tuple[str, ...], said: str):
    done = run(served, *arguments, status=1)
    assert said in done.stderr
    assert done.stderr.splitlines()[-1].startswith("rhapsode: ")
    assert done.stdout == ""
    assert not (served / "x.wav").exists()


def test_an_interrupted_command_leaves_the_server_at_work_and_fetches_it_later(served: Path):
    arguments = ("speak", book(16), "-o", "later.wav", "--voice", "tone-slow")
    process = begin(served, *arguments)
    job = seen(served, 1)
    process.send_signal(signal.SIGINT)
    _, err = process.communicate(timeout=PATIENCE_S)
    assert process.returncode == 130
    assert f"the server goes on with job {job.job_id}" in err
    assert run(served, *arguments).stdout == f"{served / 'later.wav'}\n"
    newest = jobs(served, "--limit", "1")[0]
    assert (newest["job_id"], newest["status"], newest["run"]) == (job.job_id, "completed", 1)


def test_a_cancelled_job_is_said_and_the_same_command_takes_it_up(served: Path):
    arguments = ("speak", book(16), "-o", "up.wav", "--voice", "tone-slow")
    process = begin(served, *arguments)
    job = seen(served, 1)
    assert run(served, "cancel", job.job_id).stdout == f"{job.job_id} cancelled\n"
    _, err = process.communicate(timeout=PATIENCE_S)
    assert process.returncode == 1
    assert "was cancelled; run the same command again to go on" in err
    assert jobs(served, "--status", "cancelled")[0]["job_id"] == job.job_id
    run(served, *arguments)
    newest = jobs(served, "--limit", "1")[0]
    assert (newest["job_id"], newest["status"], newest["run"]) == (job.job_id, "completed", 2)


def test_a_failed_job_is_tried_once_more(served: Path):
    arguments = ("speak", "This one fails !raise! always.", "-o", "never.wav")
    for count in (1, 2):
        failed = run(served, *arguments, status=1)
        assert "failed: segment 0" in failed.stderr
        newest = jobs(served, "--limit", "1")[0]
        assert (newest["status"], newest["run"]) == ("failed", count)
    assert not (served / "never.wav").exists()


def test_a_job_that_was_deleted_is_made_anew(served: Path):
    arguments = ("speak", "Here today.", "-o", "gone.wav", "--seed", "1")
    run(served, *arguments)
    first = jobs(served, "--limit", "1")[0]["job_id"]
    with Client(str(running_url(served / "data"))) as client:
        client.purge(first)
    run(served, *arguments)
    second = jobs(served, "--limit", "1")[0]["job_id"]
    assert second != first
    for file in (served / "data" / "outputs").glob(f"*{second}*"):
        file.unlink()
    run(served, *arguments)  # a lost file is joined again from what was spoken
    assert jobs(served, "--limit", "1")[0]["job_id"] == second
    run(served, *arguments, "--fresh")
    assert len({first, second, jobs(served, "--limit", "1")[0]["job_id"]}) == 3


def test_jobs_and_voices_in_words(served: Path):
    run(served, "speak", "Listed.", "-o", "listed.wav")
    newest = jobs(served, "--limit", "1")[0]["job_id"]
    table = run(served, "jobs", "--limit", "3", "--status", "completed").stdout.splitlines()
    assert len(table) == 4
    assert table[1].startswith(f"{newest}  completed")
    assert run(served, "voices").stdout.split()[2:4] == ["tone", "tone.tone"]


def test_doctor_finds_nothing_wrong(served: Path):
    findings = {f["name"]: f for f in json.loads(run(served, "doctor", "--json").stdout)}
    assert {"python", "packages", "data directory", "fsync", "server", "codecs", "engine", "voices"} <= set(findings)
    assert {f["name"]: f["found"] for f in findings.values() if f["verdict"] == "fail"} == {}
    assert "answers at" in findings["server"]["found"]


# -- the rest, without a server ---------------------------------------------------------------------------------------


def test_doctor_says_what_is_wrong_and_how_to_mend_it(tmp_path: Path):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])
        done = run(tmp_path, "doctor", status=1, RHAPSODE_ENGINE__NAME="nonesuch", RHAPSODE_SERVER__PORT=port)
    lines = done.stdout.splitlines()
    assert any(line.startswith("fail engine") and "nonesuch" in line for line in lines)
    assert any(line.startswith("fail port") and port in line for line in lines)
    assert sum(line.startswith("fail") for line in lines) == sum("→" in line for line in lines) >= 2


def test_jobs_and_cancel_without_a_server(tmp_path: Path):
    assert run(tmp_path, "jobs", "--json").stdout == "[]\n"
    process = begin(tmp_path, "speak", book(40), "-o", "x.wav", "--voice", "tone-slow")
    job = seen(tmp_path, 1)
    process.kill()
    process.communicate(timeout=PATIENCE_S)
    assert [(j["job_id"], j["status"]) for j in jobs(tmp_path)] == [(job.job_id, "running")]
    run(tmp_path, "cancel", job.job_id)
    assert jobs(tmp_path)[0]["status"] == JobStatus.CANCELLED
    assert "cancelled" in run(tmp_path, "jobs").stdout


def test_settings_are_those_of_the_docs(tmp_path: Path):
    assert run(tmp_path, "settings", "--markdown").stdout == (ROOT / "docs" / "configuration.md").read_text()
    rows = {row["key"]: row for row in json.loads(run(tmp_path, "settings", "--json").stdout)}
    assert (rows["fleet.bulk_slots"]["value"], rows["fleet.bulk_slots"]["named"]) == (2, True)
    assert (rows["fleet.nice"]["value"], rows["fleet.nice"]["named"]) == (10, False)
    assert all(row["help"] for row in rows.values())


def test_a_wrong_setting_and_a_port_in_use_are_one_line(tmp_path: Path):
    wrong = run(tmp_path, "jobs", status=1, RHAPSODE_FLEET__NICE="77")
    assert wrong.stderr.startswith("rhapsode: fleet.nice = '77' ($RHAPSODE_FLEET__NICE)")
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        used = run(tmp_path, "serve", "--port", str(port), status=1)
    assert used.stderr.startswith(f"rhapsode: server.port: cannot listen on 127.0.0.1:{port}")
    assert "Usage:" in run(tmp_path, "speak", "--nonsense", status=2).stderr


def test_bench_speaks_its_text_and_leaves_nothing(tmp_path: Path):
    figures = json.loads(run(tmp_path, "bench", "--chars", "3000", "--voice", "tone-chars", "--json").stdout)
    assert 2900 < figures["chars"] <= 3000
    assert figures["audio_seconds"] == pytest.approx(figures["chars"] * CHAR_SAMPLES / 22_050, rel=0.1)
    assert figures["chars_per_second"] > 0
    assert figures["realtime"] > 0
    assert figures["first_audio_seconds"] > 0
    assert list(tmp_path.iterdir()) == []
