"""The header Prefer."""

import pytest

from rhapsode.api.prefer import wanted_wait


@pytest.mark.parametrize(
    ("headers", "seconds"),
    [
        ([], None), (["wait=5"], 5), (["wait=0"], 0), (["wait=600"], 60), (["respond-async, wait=7"], 7), (["Wait = 8"], 8),
        (['wait="9"'], 9), (["respond-async", "wait=10; foo=bar"], 10), (["wait=1, wait=2"], 1), (["wait"], None),
        (["wait=-1"], None), (["wait=1.5"], None), (["await=5"], None), (["wait=9999999999"], None),
    ],
)  # fmt: skip
def test_wait_is_read_as_rfc_7240_says(headers: list[str], seconds: int | None) -> None:
    assert wanted_wait(headers) == seconds
