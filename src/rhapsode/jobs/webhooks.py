"""Send what is in the outbox: signed, again and again for days until it is taken, under one id."""

import asyncio
import logging
import random
from collections import Counter
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime

import httpx
from standardwebhooks import Webhook

from rhapsode.errors import InvalidInput, LedgerError, StorageFull
from rhapsode.jobs.safe_address import Policy, Resolver, SafeTransport, host_of, resolve
from rhapsode.jobs.shop import Shop
from rhapsode.ledger.outbox import EVENT_TYPES, FIRST, Due, Outcome

log = logging.getLogger(__name__)

SCHEDULE_S = (5, 300, 1_800, 7_200, 18_000, 36_000, 50_400, 72_000, 86_400)
"""Waits between tries, as Standard Webhooks recommends; after the last try a delivery has failed."""
_JITTER = 0.1
_LONGEST_S = 86_400.0
_AT_ONCE = 32
_PER_HOST = 4
_PAGE, _PAGES = 64, 8
"""What one look goes through at most; the next one goes on behind it."""
_GO_ON_S = 1.0
_LOOK_S = 60.0
"""The clock may jump: what is due is looked up at least this often."""
_AGAIN_S = 5.0
_READ_BYTES = 4_096
_SHOWN = 200
_GONE = 410
_PATIENT = frozenset({429, 503})


def retry_at(tries: int, now: float, spread: float, retry_after: float = 0.0) -> float | None:
    """When to try again.

    Args:
        tries: So far, ≥ 1.
        now: Seconds since the epoch.
        spread: -1 … 1, drawn at random, so that many that failed together do not come back together.
        retry_after: What the receiver asked for, seconds; at most a day is granted.

    Returns:
        Seconds since the epoch, or None when it was the last try.
    """
    if tries > len(SCHEDULE_S):
        return None
    wait = SCHEDULE_S[tries - 1] * (1 + _JITTER * spread)
    return now + max(wait, min(retry_after, _LONGEST_S))


def signed(secret: str, message_id: str, at: float, payload: str) -> Mapping[str, str]:
    """The headers of a message (Standard Webhooks); ``at`` is the time of this try, seconds since the epoch."""
    signature = Webhook(secret).sign(message_id, datetime.fromtimestamp(int(at), UTC), payload)
    return {"webhook-id": message_id, "webhook-timestamp": str(int(at)), "webhook-signature": signature}


class Sender:
    """Sends what is due until cancelled. What was sent and not yet written down when the process dies is sent again.

    Args:
        shop: Shared parts; only outbox, hub and clock are used.
        policy: Where messages may go.
        timeout_s: A receiver must have answered by then.
        resolver: Gives a name's addresses.
        spread: Draws -1 … 1.
    """

    def __init__(
        self,
        shop: Shop,
        policy: Policy,
        timeout_s: float,
        resolver: Resolver = resolve,
        spread: Callable[[], float] = lambda: random.uniform(-1, 1),  # noqa: S311 - no secret
    ) -> None:
        self._outbox = shop.outbox
        self._clock = shop.clock
        self._timeout_s = timeout_s
        self._spread = spread
        self._client = httpx.AsyncClient(
            transport=SafeTransport(policy, resolver), trust_env=False, follow_redirects=False, timeout=timeout_s
        )
        self._wake = asyncio.Event()
        self._tasks: dict[str, asyncio.Task[None]] = {}
        self._hosts: Counter[str] = Counter()
        self._seen = FIRST
        """How far the last look came among what is due; :data:`FIRST` once it came to the end."""
        shop.outbox.on_due(self.wake)
        shop.hub.listen(lambda event: self.wake() if event.type in EVENT_TYPES else None)

    def wake(self) -> None:
        """Look for what is due."""
        self._wake.set()

    async def run(self) -> None:
        """Send until cancelled."""
        try:
            while True:
                self._wake.clear()
                wait = _LOOK_S
                try:
                    wait = await self._start()
                except Exception:  # whatever it was, the next look must come
                    log.exception("looking for webhooks that are due failed; trying again in %g s", _AGAIN_S)
                    wait = _AGAIN_S
                try:
                    async with asyncio.timeout(wait):
                        await self._wake.wait()
                except TimeoutError:
                    continue
        finally:
            for task in self._tasks.values():
                task.cancel()
            await asyncio.gather(*self._tasks.values(), return_exceptions=True)
            await self._client.aclose()

    async def _start(self) -> float:
        """Begin with what is due and has room; seconds until more is due. The end of a try wakes, too."""
        if len(self._tasks) >= _AT_ONCE:
            return _LOOK_S
        now, whole = self._clock(), self._seen == FIRST
        for _ in range(_PAGES):
            page = await self._outbox.due(now, tuple(self._tasks), self._seen, _PAGE)
            for due in page:
                if len(self._tasks) >= _AT_ONCE:
                    return _LOOK_S
                self._seen = due.place
                if self._hosts[_host(due.url)] < _PER_HOST:  # those behind it to other hosts must not wait for it
                    self._begin(due)
            if len(page) < _PAGE:
                break
        else:
            return _GO_ON_S
        self._seen = FIRST
        if not whole:  # what was passed over before may have room now
            return 0.0
        later = await self._outbox.next_due(now)
        return _LOOK_S if later is None else min(max(later - now, 0.0), _LOOK_S)

    def _begin(self, due: Due) -> None:
        host = _host(due.url)
        self._hosts[host] += 1
        task = asyncio.create_task(self._deliver(due))
        self._tasks[due.delivery.id] = task
        task.add_done_callback(lambda _: self._end(due.delivery.id, host))

    def _end(self, delivery_id: str, host: str) -> None:
        self._tasks.pop(delivery_id, None)
        self._hosts[host] -= 1
        if not self._hosts[host]:
            del self._hosts[host]
        self.wake()

    async def _deliver(self, due: Due) -> None:
        outcome = await self._try(due)
        if outcome.error:
            log.info("webhook %s, try %d: %s", due.delivery.id, due.delivery.tries + 1, outcome.error)
        while True:  # it stays in flight until it is written down: else it would be sent again at once
            try:
                await self._outbox.settle(due.delivery.id, outcome)
            except (LedgerError, StorageFull) as error:
                log.warning("webhook %s: %s; trying again in %g s", due.delivery.id, error, _AGAIN_S)
                await asyncio.sleep(_AGAIN_S)
            else:
                return

    async def _try(self, due: Due) -> Outcome:
        try:
            async with asyncio.timeout(self._timeout_s):
                return await self._send(due)
        except (TimeoutError, httpx.TimeoutException):
            return self._failed(due, None, f"no answer within {self._timeout_s:g} s")
        except (InvalidInput, OSError, httpx.HTTPError, httpx.InvalidURL) as error:
            return self._failed(due, None, f"{type(error).__name__}: {error}")
        except Exception as error:  # whatever an odd answer brings about; the others must go on
            log.exception("webhook %s", due.delivery.id)
            return self._failed(due, None, f"{type(error).__name__}: {error}")

    async def _send(self, due: Due) -> Outcome:
        message = due.delivery
        headers = {
            **signed(due.secret, message.id, self._clock(), message.payload),
            "content-type": "application/json",
            "user-agent": "rhapsode",
            "connection": "close",
        }
        async with self._client.stream("POST", due.url, content=message.payload.encode(), headers=headers) as answer:
            if answer.is_success:
                return Outcome(answer.status_code, None)
            said = bytearray()
            async for piece in answer.aiter_raw(_READ_BYTES):
                said += piece
                if len(said) >= _READ_BYTES:
                    break
            text = " ".join(said[:_SHOWN].decode(errors="replace").split())
            error = f"answered {answer.status_code}{': ' if text else ''}{text}"
            if answer.status_code == _GONE:
                return Outcome(_GONE, error, gone=True)
            patience = retry_after(answer.headers.get("retry-after", ""), self._clock())
            return self._failed(due, answer.status_code, error, patience if answer.status_code in _PATIENT else 0.0)

    def _failed(self, due: Due, status: int | None, error: str, patience: float = 0.0) -> Outcome:
        again = retry_at(due.delivery.tries + 1, self._clock(), self._spread(), patience)
        return Outcome(status, error[:500], again)


def retry_after(header: str, now: float) -> float:
    """Seconds that a ``Retry-After`` asks for: a number or a date; 0 for anything else."""
    if header.isascii() and header.isdigit() and len(header) < 10:
        return float(header)
    try:
        return max(0.0, parsedate_to_datetime(header).timestamp() - now)
    except (ValueError, OverflowError):
        return 0.0


def _host(url: str) -> str:
    return host_of(httpx.URL(url))
