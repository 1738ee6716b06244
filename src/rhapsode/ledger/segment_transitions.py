"""Transitions of the plan and of segments, as commands of the writer."""

from typing import Any

import sqlalchemy as sa
from sqlalchemy import bindparam

from rhapsode.errors import Refused
from rhapsode.ledger.base import Claim, PlanPart
from rhapsode.ledger.rows import (
    JOB_COLUMNS,
    SEGMENT_COLUMNS,
    TAKE_COLUMNS,
    segment_values,
    take_values,
    to_job,
    to_segment_state,
    to_take,
)
from rhapsode.ledger.schema import UNFINISHED, insert, jobs, segments, take_keys, takes
from rhapsode.ledger.transaction import Transaction
from rhapsode.ledger.transitions import IS_RUNNING, NEXT_EVENT, OWNED, add_warnings, fenced, find, refusal
from rhapsode.model import Fence, Job, SegmentState, SegmentStatus, Take

_IS_SEGMENT = sa.and_(segments.c.job_id == bindparam("job"), segments.c.idx == bindparam("index"))
_IS_ATTEMPT = sa.and_(
    _IS_SEGMENT,
    segments.c.status == SegmentStatus.RUNNING.value,
    segments.c.attempt == bindparam("attempt_no"),
)

_PLAN_STATE = sa.select(jobs.c.segments_total, jobs.c.text_chars).where(OWNED, UNFINISHED, ~jobs.c.plan_done)
_SEGMENT_END = sa.select(segments.c.end).where(_IS_SEGMENT)
_STRETCH = (
    sa.update(segments)
    .where(_IS_SEGMENT)
    .values(chars=segments.c.chars + bindparam("more"))
    .returning(segments.c.status)
)
_EXTEND = (
    sa.update(jobs)
    .where(OWNED)
    .values(
        **NEXT_EVENT,
        segments_total=bindparam("total"),
        planned_chars=bindparam("planned"),
        plan_cursor=bindparam("cursor"),
        plan_done=bindparam("done", type_=sa.Boolean),
        chars_done=jobs.c.chars_done + bindparam("more_done"),
    )
    .returning(*JOB_COLUMNS)
)
_COUNT_EVENT = sa.update(jobs).where(OWNED, IS_RUNNING).values(**NEXT_EVENT).returning(jobs.c.event_seq)
_IS_KEY = take_keys.c.input_key == bindparam("key", type_=sa.Text)
_COUNT_UNLESS_KNOWN = _COUNT_EVENT.where(~sa.exists().where(_IS_KEY))
_TAKE = sa.select(*TAKE_COLUMNS).where(takes.c.digest == bindparam("digest"))
_CLAIM = (
    sa.update(segments)
    .where(_IS_SEGMENT, segments.c.status == SegmentStatus.PENDING.value)
    .values(status=SegmentStatus.RUNNING.value, attempt=segments.c.attempt + 1)
    .returning(segments.c.attempt, sa.select(take_keys.c.digest).where(_IS_KEY).scalar_subquery())
)
_FINISH = (
    sa.update(segments)
    .where(_IS_ATTEMPT)
    .values(status=SegmentStatus.DONE.value, take_digest=bindparam("digest"), error=None)
    .returning(segments.c.idx)
)
_CHARS = sa.select(segments.c.chars).where(_IS_SEGMENT).scalar_subquery()
_ADD_TOTALS = (
    sa.update(jobs)
    .where(OWNED, IS_RUNNING)
    .values(
        **NEXT_EVENT,
        segments_done=jobs.c.segments_done + 1,
        chars_done=jobs.c.chars_done + _CHARS,
        samples_done=jobs.c.samples_done + bindparam("samples"),
        rate=bindparam("take_rate"),
        synth_seconds=jobs.c.synth_seconds + bindparam("seconds"),
        first_audio_at=sa.func.coalesce(jobs.c.first_audio_at, bindparam("now")),
    )
    .returning(*JOB_COLUMNS)
)
_SUBTRACT_TOTALS = (
    sa.update(jobs)
    .where(OWNED, IS_RUNNING)
    .values(
        **NEXT_EVENT,
        segments_done=jobs.c.segments_done - 1,
        chars_done=jobs.c.chars_done - bindparam("chars"),
        samples_done=jobs.c.samples_done - bindparam("samples"),
    )
    .returning(jobs.c.event_seq)
)
_INSERT_TAKE = insert(takes).on_conflict_do_nothing()
_insert_key = insert(take_keys)
_INSERT_KEY = _insert_key.on_conflict_do_update(
    index_elements=[take_keys.c.input_key], set_={"digest": _insert_key.excluded.digest}
)
_FORGET_KEYS = sa.delete(take_keys).where(take_keys.c.digest == bindparam("digest"))
_RELEASE = sa.update(segments).where(_IS_ATTEMPT).values(status=SegmentStatus.PENDING.value)
_IS_OWNED_RUNNING = sa.select(jobs.c.id).where(OWNED, IS_RUNNING)
_FAIL = (
    sa.update(segments)
    .where(_IS_ATTEMPT)
    .values(
        failures=segments.c.failures + bindparam("charged"),
        status=sa.case(
            (segments.c.failures + bindparam("charged") >= bindparam("budget"), SegmentStatus.FAILED.value),
            else_=SegmentStatus.PENDING.value,
        ),
        error=bindparam("cause"),
    )
    .returning(*SEGMENT_COLUMNS)
)
_DONE_TAKE = (
    sa.select(segments.c.chars, takes.c.samples, takes.c.digest)
    .join_from(segments, takes)
    .where(_IS_SEGMENT, segments.c.status == SegmentStatus.DONE.value)
)
_RESET = sa.update(segments).where(_IS_SEGMENT).values(status=SegmentStatus.PENDING.value, take_digest=None)


def extend_plan(tx: Transaction, fence: Fence, part: PlanPart) -> Job:
    """See :meth:`rhapsode.ledger.base.Ledger.extend_plan`."""
    state = tx.one(_PLAN_STATE, **fenced(fence))
    if state is None:
        raise refusal(fence, "more of its plan")
    total, text_chars = state
    if [segment.index for segment in part.segments] != list(range(total, total + len(part.segments))):
        raise refusal(fence, f"its plan from a segment other than {total}")
    done_already = _append(tx, fence.job_id, part, total, text_chars)
    row = tx.one(
        _EXTEND,
        **fenced(fence),
        total=total + len(part.segments),
        planned=part.planned_chars,
        cursor=part.cursor,
        done=part.done,
        more_done=done_already,
    )
    assert row is not None  # noqa: S101 - seen above, in this transaction
    job = to_job(row)
    data = {"segments_total": job.segments_total, "planned_chars": job.planned_chars, "done": job.plan_done}
    tx.emit(job.id, job.event_seq, "plan.extended", data)
    if part.warnings:
        add_warnings(tx, job, part.warnings)
        return find(tx, job.id)
    return job


def _append(tx: Transaction, job_id: str, part: PlanPart, total: int, text_chars: int) -> int:
    """Insert the segments of a part.

    White space between segments counts for the segment behind it, what follows the last one for the last, so that the
    characters of all segments add up to those of the text.

    Returns:
        Characters that this adds to segments which are done already.
    """
    end = 0
    if total:
        row = tx.one(_SEGMENT_END, job=job_id, index=total - 1)
        assert row is not None  # noqa: S101 - segments are numbered without gaps
        (end,) = row
    rows = []
    for segment in part.segments:
        rows.append(segment_values(job_id, segment, segment.end - end))
        end = segment.end
    rest = text_chars - end if part.done else 0
    if rows:
        rows[-1]["chars"] += rest
        tx.insert(segments, rows)
    elif rest and total:
        row = tx.one(_STRETCH, job=job_id, index=total - 1, more=rest)
        return rest if row == (SegmentStatus.DONE.value,) else 0
    return 0


def claim(tx: Transaction, fence: Fence, index: int, input_key: str, shared: bool) -> Claim:
    """See :meth:`rhapsode.ledger.base.Ledger.claim`."""
    key = input_key if shared else None
    claimed, counted = tx.several(
        (_CLAIM, {"job": fence.job_id, "index": index, "key": key}),
        (_COUNT_UNLESS_KNOWN, {**fenced(fence), "key": key}),
    )
    if not claimed:
        raise Refused(f"Segment {index} of job {fence.job_id} is not waiting to be spoken.")
    attempt, digest = claimed[0]
    if digest is not None:
        known = tx.one(_TAKE, digest=digest)
        assert known is not None  # noqa: S101 - a key refers to a take
        take = to_take(known)
        _finish(tx, fence, index, attempt, take, cached=True)
        return Claim(attempt, take)
    if not counted:
        raise refusal(fence, f"a claim of segment {index}")
    tx.emit(fence.job_id, counted[0][0], "segment.started", {"index": index, "attempt": attempt})
    return Claim(attempt)


def complete_segment(tx: Transaction, fence: Fence, index: int, attempt: int, input_key: str, take: Take) -> Job:
    """See :meth:`rhapsode.ledger.base.Ledger.complete_segment`."""
    tx.run(_INSERT_TAKE, **take_values(take, tx.now))
    tx.run(_INSERT_KEY, input_key=input_key, digest=take.digest)
    return _finish(tx, fence, index, attempt, take, cached=False)


def _finish(tx: Transaction, fence: Fence, index: int, attempt: int, take: Take, cached: bool) -> Job:
    """running → done with a stored take; the work of a cached one was counted where it was done."""
    finished, counted = tx.several(
        (_FINISH, {"job": fence.job_id, "index": index, "attempt_no": attempt, "digest": take.digest}),
        (
            _ADD_TOTALS,
            {
                **fenced(fence),
                "index": index,
                "samples": take.samples,
                "take_rate": take.rate,
                "seconds": 0.0 if cached else take.synth_seconds,
                "now": tx.now,
            },
        ),
    )
    if not finished:
        raise Refused(f"Attempt {attempt} at segment {index} of job {fence.job_id} is no longer the current one.")
    if not counted:
        raise refusal(fence, f"segment {index}")
    job = to_job(counted[0])
    data = {
        "index": index,
        "samples": take.samples,
        "cached": cached,
        "segments_done": job.segments_done,
        "segments_total": job.segments_total,
        "chars_done": job.chars_done,
        "progress": job.progress,
    }
    tx.emit(job.id, job.event_seq, "segment.completed", data)
    return job


def release_segment(tx: Transaction, fence: Fence, index: int, attempt: int) -> None:
    """See :meth:`rhapsode.ledger.base.Ledger.release_segment`. No event: for a listener nothing has happened."""
    if tx.one(_IS_OWNED_RUNNING, **fenced(fence)) is not None:
        tx.run(_RELEASE, job=fence.job_id, index=index, attempt_no=attempt)


def fail_segment(
    tx: Transaction, fence: Fence, index: int, attempt: int, error: str, charge: bool, budget: int
) -> SegmentState:
    """See :meth:`rhapsode.ledger.base.Ledger.fail_segment`."""
    row = tx.one(
        _FAIL,
        job=fence.job_id,
        index=index,
        attempt_no=attempt,
        charged=int(charge),
        budget=budget,
        cause=error,
    )
    if row is None:
        raise Refused(f"Attempt {attempt} at segment {index} of job {fence.job_id} is no longer the current one.")
    counted = tx.one(_COUNT_EVENT, **fenced(fence))
    if counted is None:
        raise refusal(fence, f"the failure of segment {index}")
    state = to_segment_state(row)
    data: dict[str, Any] = {"index": index, "attempt": attempt, "failures": state.failures, "error": error}
    data["final"] = state.status is SegmentStatus.FAILED
    tx.emit(fence.job_id, counted[0], "segment.failed", data)
    return state


def reset_segment(tx: Transaction, fence: Fence, index: int) -> None:
    """See :meth:`rhapsode.ledger.base.Ledger.reset_segment`.

    The keys of the lost take are forgotten, or the next claim would be answered with it again.
    """
    done = tx.one(_DONE_TAKE, job=fence.job_id, index=index)
    if done is None:
        raise Refused(f"Segment {index} of job {fence.job_id} is not done.")
    chars, samples, digest = done
    counted = tx.one(_SUBTRACT_TOTALS, **fenced(fence), chars=chars, samples=samples)
    if counted is None:
        raise refusal(fence, f"the loss of segment {index}")
    tx.run(_RESET, job=fence.job_id, index=index)
    tx.run(_FORGET_KEYS, digest=digest)
    tx.emit(fence.job_id, counted[0], "segment.lost", {"index": index})
