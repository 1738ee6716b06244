"""The contract of keys, sessions, usage and quotas."""

import asyncio
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path

import pytest

from rhapsode.errors import InvalidInput, NotFound, QuotaExceeded, Unauthorized
from rhapsode.ledger.access import DAY_S, ApiKey
from rhapsode.ledger.sql import SqlLedger
from rhapsode.model import NO_LIMITS, Job, Limits, Scope
from tests.contract.ledger_values import TTL_S, Clock, new_job

ADMIN = ApiKey("k1", "me", "mine", "rh_12345", frozenset({Scope.ADMIN}), Limits(queued_jobs=3), 1.0)
READER = ApiKey("k2", "you", "yours", "rh_54321", frozenset({Scope.READ}), NO_LIMITS, 2.0)


@pytest.fixture
async def sql(ledger_url: str | Path, clock: Clock) -> AsyncIterator[SqlLedger]:
    ledger = SqlLedger(ledger_url, clock=clock, ttl_s=TTL_S)
    await ledger.open()
    yield ledger
    await ledger.close()


async def test_keys_read_back_and_the_first_must_grant_admin(sql: SqlLedger) -> None:
    access = sql.access
    with pytest.raises(InvalidInput) as caught:
        await access.create_key(READER, "d2")
    assert caught.value.field == "scopes"
    assert not await access.has_keys()
    await access.create_key(ADMIN, "d1")
    await access.create_key(READER, "d2")
    assert list(await access.list_keys()) == [ADMIN, READER]
    assert await access.find_key("d1") == ADMIN
    assert await access.find_key("d3") is None
    changed = replace(READER, name="new", limits=Limits(chars_per_day=5), expires_at=9.0)
    await access.change_key(changed)
    assert await access.get_key("k2") == changed


async def test_rotating_and_revoking_end_secret_and_sessions(sql: SqlLedger, clock: Clock) -> None:
    access = sql.access
    await access.create_key(ADMIN, "d1")
    await access.open_session("s1", "k1", 10)
    assert await access.find_session("s1") == ADMIN
    assert (await access.rotate_key("k1", "d2", "rh_99999")).hint == "rh_99999"
    assert (await access.find_session("s1"), await access.find_key("d1")) == (None, None)
    await access.open_session("s2", "k1", 10)
    clock.now += 11
    assert await access.find_session("s2") is None
    await access.revoke_key("k1")
    found = await access.find_key("d2")
    assert found is not None
    assert found.revoked_at == clock.now
    assert await access.has_keys()
    with pytest.raises(Unauthorized):
        await access.open_session("s3", "k1", 10)
    with pytest.raises(NotFound):
        await access.rotate_key("k1", "d4", "h")


async def test_fifty_submits_at_a_bound_of_ten_make_ten(sql: SqlLedger) -> None:
    limits = Limits(queued_jobs=10)
    answers = await asyncio.gather(
        *(sql.submit(replace(new_job(), limits=limits)) for _ in range(50)), return_exceptions=True
    )
    refused = [answer for answer in answers if isinstance(answer, QuotaExceeded)]
    made = [answer[0] for answer in answers if isinstance(answer, tuple)]
    assert (len(made), len(refused), {error.limit for error in refused}) == (10, 40, {"queued_jobs"})
    await sql.cancel_job(made[0].id, "no more")
    job, _ = await sql.submit(replace(new_job(), limits=limits))
    assert isinstance(job, Job)


async def test_the_characters_of_a_day_come_back_at_midnight(sql: SqlLedger, clock: Clock) -> None:
    new = new_job("12345")
    limits = Limits(chars_per_day=8)
    await sql.submit(replace(new, limits=limits))
    with pytest.raises(QuotaExceeded) as caught:
        await sql.submit(replace(new_job("12345"), limits=limits))
    assert caught.value.retry_after_s == DAY_S - clock.now % DAY_S
    assert (await sql.access.usage(new.owner)).chars_today == 5
    clock.now += caught.value.retry_after_s
    await sql.submit(replace(new_job("12345"), limits=limits))
    assert (await sql.access.usage(new.owner)).jobs_today == 1
