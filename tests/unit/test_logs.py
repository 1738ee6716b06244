"""The forms of log lines."""

import asyncio
import json
import logging
import sys

from rhapsode.logs import JsonLines, Lines, log_about, log_also_about


def record(message: str, *args: object, error: BaseException | None = None) -> logging.LogRecord:
    info = (type(error), error, error.__traceback__) if error else None
    return logging.LogRecord("rhapsode.some", logging.WARNING, __file__, 1, message, args, info)


async def test_ids_of_the_task_stand_on_its_lines_and_on_no_other() -> None:
    async def request(name: str, job: str) -> list[dict[str, str]]:
        log_about(request_id=name)
        await asyncio.sleep(0)
        log_also_about(job_id=job)
        await asyncio.sleep(0)
        lines = [json.loads(JsonLines().format(record("hello %d", 5)))]
        log_about(job_id="another")
        return [*lines, json.loads(JsonLines().format(record("hello")))]

    found = await asyncio.gather(request("r1", "j1"), request("r2", "j2"))
    assert [(first["request_id"], first["job_id"]) for first, _ in found] == [("r1", "j1"), ("r2", "j2")]
    assert all(second["job_id"] == "another" and "request_id" not in second for _, second in found)
    assert found[0][0]["message"] == "hello 5"
    assert found[0][0]["level"] == "warning"
    assert found[0][0]["time"].endswith("+00:00")


def test_json_is_one_line_whatever_is_logged() -> None:
    try:
        raise ValueError("two\nlines")
    except ValueError as error:
        line = JsonLines().format(record("a\nb \x1b[31m \ud800 %s", "ü", error=error))
    assert "\n" not in line
    assert line.isascii()
    found = json.loads(line)
    assert found["message"] == "a\nb \x1b[31m \ud800 ü"
    assert "ValueError: two" in found["exception"]


async def test_text_names_ids_once_and_cannot_be_forged() -> None:
    log_about(request_id="r1", job_id="j1")
    formatter = Lines("%(levelname)s %(message)s")
    line = formatter.format(record("job %s: GET /a\n2026 ERROR forged \x1b[2J", "j1"))
    assert line == r"WARNING job j1: GET /a\x0a2026 ERROR forged \x1b[2J [request_id=r1]"


def test_what_was_raised_follows_on_lines_of_its_own() -> None:
    try:
        raise KeyError("k")
    except KeyError:
        line = Lines("%(message)s").format(record("went wrong", error=sys.exc_info()[1]))
    assert line.startswith("went wrong\nTraceback")
