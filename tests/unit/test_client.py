"""The HTTP client against made-up answers: what a real server rarely does."""

import json
import re
from collections.abc import Callable
from pathlib import Path

import httpx
import pytest

import rhapsode.client as client_package
from rhapsode.client import Client, ServerRefused, SpeechOptions, Unreachable
from rhapsode.client.events import Message, MessageParser
from rhapsode.client.flow import Iteration, Operation
from rhapsode.client.front import _Calls
from rhapsode.model import JobStatus

Handler = Callable[[httpx.Request], httpx.Response]
SOUND = bytes(range(256)) * 8


def client(handler: Handler, slept: list[float] | None = None) -> Client:
    return Client("http://there:1/root", transport=httpx.MockTransport(handler), sleep=(slept or []).append)


class Breaking(httpx.SyncByteStream):
    """Some bytes, then the connection breaks."""

    def __init__(self, data: bytes) -> None:
        self._data = data

    def __iter__(self):
        yield self._data
        raise httpx.ReadError("broken")


def whole(data: bytes, tag: str) -> httpx.Response:
    return httpx.Response(200, content=data, headers={"ETag": tag})


def broken(data: bytes, tag: str, status: int = 200) -> httpx.Response:
    return httpx.Response(status, stream=Breaking(data), headers={"ETag": tag, "Content-Length": "9999"})


def test_a_broken_download_asks_for_the_rest_of_the_same_version(tmp_path: Path):
    asked: list[tuple[str | None, str | None]] = []

    def answer(request: httpx.Request) -> httpx.Response:
        assert request.url.path == "/root/tts/j/result"
        asked.append((request.headers.get("range"), request.headers.get("if-range")))
        if len(asked) == 1:
            return broken(SOUND[:100], '"one"')
        if len(asked) == 2:
            return broken(SOUND[100:700], '"one"', 206)
        return httpx.Response(206, content=SOUND[700:], headers={"ETag": '"one"'})

    seen: list[tuple[int, int]] = []
    with client(answer) as it:
        assert it.download("j", tmp_path / "a.wav", lambda done, total: seen.append((done, total))) == len(SOUND)
    assert asked == [(None, None), ("bytes=100-", '"one"'), ("bytes=700-", '"one"')]
    assert (tmp_path / "a.wav").read_bytes() == SOUND
    assert seen[-1] == (len(SOUND), len(SOUND))
    assert [path.name for path in tmp_path.iterdir()] == ["a.wav"]


def test_a_result_that_changed_meanwhile_is_fetched_from_the_start(tmp_path: Path):
    answers = [broken(b"old" * 50, '"one"'), whole(SOUND, '"two"')]
    with client(lambda _: answers.pop(0)) as it:
        it.download("j", tmp_path / "a.wav")
    assert (tmp_path / "a.wav").read_bytes() == SOUND


def test_a_download_that_gets_nowhere_is_given_up_and_leaves_the_old_file(tmp_path: Path):
    (tmp_path / "a.wav").write_bytes(b"old")
    count = 0

    def answer(_: httpx.Request) -> httpx.Response:
        nonlocal count
        count += 1
        return broken(b"", '"one"')

    with client(answer) as it, pytest.raises(Unreachable, match=r"no answer from http://there:1/root: broken"):
        it.download("j", tmp_path / "a.wav")
    assert count == 3
    assert (tmp_path / "a.wav").read_bytes() == b"old"
    assert [path.name for path in tmp_path.iterdir()] == ["a.wav"]


def test_a_result_that_is_not_there_leaves_no_file(tmp_path: Path):
    problem = {"detail": "job j was cancelled", "code": "gone"}
    with client(lambda _: httpx.Response(410, json=problem)) as it, pytest.raises(ServerRefused) as refused:
        it.download("j", tmp_path / "a.wav")
    assert (refused.value.status, refused.value.code, str(refused.value)) == (410, "gone", "job j was cancelled")
    assert list(tmp_path.iterdir()) == []


def test_an_error_that_is_no_problem_document_names_address_and_status():
    with client(lambda _: httpx.Response(502, text="<html>")) as it, pytest.raises(ServerRefused) as refused:
        it.status("j")
    assert str(refused.value) == "http://there:1/root/tts/j/status answers 502 Bad Gateway"


@pytest.mark.parametrize("content", [b"<html>", b"[]", b'{"job_id": 3}', b"\xff"])
def test_an_answer_of_something_else_is_said(content: bytes):
    with (
        client(lambda _: httpx.Response(200, content=content)) as it,
        pytest.raises(ServerRefused, match="is no Rhapsode server"),
    ):
        it.status("j")


@pytest.mark.parametrize("url", ["there", "ftp://there", "http://", "http://a:b:c", ""])
def test_what_is_no_address_is_refused_at_once(url: str):
    with pytest.raises(Unreachable, match="is not the address of a server"):
        Client(url)


def test_waiting_looks_less_and_less_often_and_tells_each_time():
    states = [{"job_id": "j", "status": "running", "progress": n} for n in range(20)]
    states.append({"job_id": "j", "status": "completed", "progress": 100, "unknown": [1]})
    slept: list[float] = []
    seen: list[float] = []
    with Client(
        "http://there", transport=httpx.MockTransport(lambda _: httpx.Response(200, json=states.pop(0))),
        sleep=slept.append,
    ) as it:  # fmt: skip
        job = it.wait("j", lambda job: seen.append(job.progress))
    assert job.status is JobStatus.COMPLETED
    assert seen == [*range(20), 100]
    assert slept == sorted(slept)
    assert slept[0] <= 0.1
    assert slept[-1] == 0.5


def test_only_what_is_given_is_sent():
    sent: list[httpx.Request] = []

    def answer(request: httpx.Request) -> httpx.Response:
        sent.append(request)
        return httpx.Response(202, json={"job_id": "j"})

    with client(answer) as it:
        assert it.submit("Hi.", SpeechOptions(seed=3), "key") == "j"
        it.submit("Hi.", SpeechOptions(output_format="mp3", chunk_size=80))
    assert json.loads(sent[0].content) == {"text": "Hi.", "seed": 3, "output_format": None}
    assert json.loads(sent[1].content) == {"text": "Hi.", "output_format": "mp3", "chunk_size": 80}
    assert [request.headers.get("idempotency-key") for request in sent] == ["key", None]


def test_a_live_stream_that_breaks_off_raises():
    with client(lambda _: broken(b"abc", "")) as it:
        stream = it.stream("j", "mp3")
        assert next(stream) == b"abc"
        with pytest.raises(Unreachable):
            next(stream)


@pytest.mark.parametrize("size", [1, 2, 7, 1_000])
def test_server_sent_events_are_read_in_any_pieces(size: int) -> None:
    stream = 'retry: 2000\n\n:\n\nid: 1\nevent: a\ndata: {"é": 1}\n\nid: 2\r\nevent: b\r\ndata: x\r\ndata: y\r\n\r\ndata:z\n\nid: 4\ndata: cut'
    data, parser = stream.encode(), MessageParser()
    found = [one for at in range(0, len(data), size) for one in parser.feed(data[at : at + size])]
    assert found == [Message("1", "a", '{"é": 1}'), Message("2", "b", "x\ny"), Message("2", "message", "z")]


def test_the_page_lists_every_method_and_every_error() -> None:
    page = (Path(__file__).parents[2] / "docs" / "client.md").read_text()
    methods = {name for kind in (Operation, Iteration) for name, one in vars(_Calls).items() if isinstance(one, kind)}
    listed = page.partition("## All methods")[2]
    assert set(re.findall(r"`(\w+)`", listed)) == methods
    raised = {
        name
        for name in client_package.__all__
        if isinstance(found := getattr(client_package, name), type) and issubclass(found, Exception)
    }
    assert raised <= set(re.findall(r"`(\w+)`", page.partition("## Errors")[2]))
    assert sorted(client_package.__all__) == client_package.__all__
