"""When a message is tried again, and how it is signed."""

import time

import pytest
from standardwebhooks import Webhook

from rhapsode.jobs.webhooks import SCHEDULE_S, retry_after, retry_at, signed

SECRET = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"


def test_waits_grow_from_seconds_to_a_day_and_end() -> None:
    assert [retry_at(tries, 0, 0) for tries in range(1, 11)] == [*SCHEDULE_S, None]
    assert retry_at(2, 1000, 1) == pytest.approx(1330)
    assert retry_at(2, 1000, -1) == pytest.approx(1270)


def test_a_receiver_may_ask_for_more_within_a_day() -> None:
    assert retry_at(1, 0, 0, 60) == 60
    assert retry_at(2, 0, 0, 60) == 300
    assert retry_at(1, 0, 0, 1e9) == 86_400
    assert retry_at(10, 0, 0, 60) is None


@pytest.mark.parametrize(
    ("header", "seconds"),
    [("120", 120), ("", 0), ("soon", 0), ("-5", 0), ("9" * 30, 0), ("Thu, 01 Jan 1970 00:02:00 GMT", 20)],
)
def test_retry_after_is_a_number_or_a_date(header: str, seconds: float) -> None:
    assert retry_after(header, 100) == seconds


def test_the_library_verifies_what_was_signed() -> None:
    headers = dict(signed(SECRET, "msg_1", time.time(), '{"a":"é"}'))
    assert Webhook(SECRET).verify('{"a":"é"}'.encode(), headers) == {"a": "é"}
