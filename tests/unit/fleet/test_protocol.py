"""Messages and frames: whole, in pieces, and rubbish."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rhapsode.engines.base import Control, Determinism, EngineInfo
from rhapsode.fleet.protocol import (
    MAX_FRAME,
    Describe,
    Described,
    Failed,
    Frames,
    Heartbeat,
    Load,
    Loaded,
    ProtocolError,
    Ready,
    Rendered,
    Reply,
    Request,
    Start,
    Stop,
    Synthesise,
    frame,
    parse_message,
    parse_request,
)
from rhapsode.model import Take, Voice, WordTiming

INFO = EngineInfo(
    "tone", "1", Determinism.EXACT, 300, False, (Control("speed_factor", 0.25, 4, 1, "How fast."),), ("[sigh]",)
)
REQUESTS: list[Request] = [
    Start(0, "tone", 2, "voices", "models", "cpu", 10, 1.0),
    Describe(1),
    Load(2, "voice"),
    Synthesise(3, "Text, ünïcode, 語.", "voice", 2**32 - 1, {"temperature": 0.5}, "en", 0.3),
    Stop(),
]
MESSAGES: list[Reply | Heartbeat] = [
    Ready(0),
    Described(1, INFO, (Voice("v", "v.onnx", "V", "en", "abc", 22_050, -1.5),)),
    Loaded(2),
    Rendered(3, Take("d" * 64, 10, 22_050, 64, 0.5, (WordTiming("one", 0, 10),)), b"\0\1" * 10, 123),
    Failed(4, "no"),
    Heartbeat(456, True),
]


@pytest.mark.parametrize("message", REQUESTS, ids=lambda m: type(m).__name__)
def test_requests_arrive_as_they_were_sent(message: Request) -> None:
    [body] = Frames().feed(bytes(frame(message)))
    assert parse_request(body) == message


@pytest.mark.parametrize("message", MESSAGES, ids=lambda m: type(m).__name__)
def test_answers_arrive_as_they_were_sent(message: Reply | Heartbeat) -> None:
    [body] = Frames().feed(bytes(frame(message)))
    assert parse_message(body) == message


@given(st.lists(st.integers(0, 60), max_size=40))
def test_frames_are_found_however_the_stream_is_cut(cuts: list[int]) -> None:
    stream = b"".join(bytes(frame(m)) for m in MESSAGES)
    frames, found, position = Frames(), [], 0
    for cut in [*cuts, len(stream)]:
        found += list(frames.feed(stream[position : position + cut]))
        position += cut
    assert [parse_message(body) for body in found] == MESSAGES


@given(st.binary(max_size=200))
def test_rubbish_is_refused_and_nothing_worse(rubbish: bytes) -> None:
    for parse in (parse_message, parse_request):
        try:
            parse(rubbish)
        except ProtocolError:
            continue
    try:
        list(Frames().feed(rubbish))
    except ProtocolError:
        assert int.from_bytes(rubbish[:4], "big") > 0


def test_a_frame_beyond_the_bound_is_refused_before_it_is_there() -> None:
    with pytest.raises(ProtocolError, match=str(MAX_FRAME + 1)):
        list(Frames().feed((MAX_FRAME + 1).to_bytes(4, "big")))


def test_half_a_surrogate_pair_cannot_be_sent() -> None:
    with pytest.raises(ProtocolError, match="cannot be sent"):
        frame(Synthesise(1, "\ud800", "voice", 1, {}, "en", 0.2))
