"""Many texts at once: ``POST /tts/batch``, and what becomes of them under ``/batches``."""

import asyncio
import hashlib
import json
import time
from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from functools import partial
from typing import Annotated, Any

from fastapi import APIRouter, Query, Request, Response
from fastapi.responses import JSONResponse, StreamingResponse
from pydantic import BaseModel, ConfigDict, Field, TypeAdapter, ValidationError, field_validator

from rhapsode.api.audio import disposition
from rhapsode.api.body import read_body
from rhapsode.api.context import Context, Ctx, Reader, Submitter, root_of
from rhapsode.api.cursors import cursor_of, read_cursor
from rhapsode.api.errors import kind_of, pointers_of, problem
from rhapsode.api.idempotency import REPLAYED, idempotency_key
from rhapsode.api.schemas import BatchAccepted, BatchCancelled, BatchJobs, BatchList, BatchStatus
from rhapsode.audio.encode import extension
from rhapsode.blobs.base import BlobStore
from rhapsode.deliver.archive import Member, archive, safe_names
from rhapsode.errors import Gone, InvalidInput
from rhapsode.jobs.batches import Item, NothingAccepted, Wanted, find_batch, purge_batch, submit_batch
from rhapsode.jobs.request import SpeechBody, Tag, known_priority
from rhapsode.jobs.status import iso, listed
from rhapsode.ledger.base import EXCERPT_OF, excerpt
from rhapsode.ledger.batches import Batch, request_counts
from rhapsode.model import Job, JobStatus

router = APIRouter(tags=["batches"])

_MOST = 1_000
_LOOKS = 32
"""Results looked for at once."""
_RETRY_AFTER_S = 5
_NO_STORE = {"Cache-Control": "no-store"}
_CUSTOM_ID = TypeAdapter(Annotated[str, Field(min_length=1, max_length=128, pattern=r"^[^\x00-\x1f\x7f]+$")])


class BatchBody(BaseModel):
    """Body of ``POST /tts/batch``. Unknown fields are ignored."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    requests: list[Any] = Field(
        min_length=1, description="Bodies of `POST /tts/enqueue`, each with a `custom_id` of its own if you like."
    )
    defaults: dict[str, Any] = Field(default_factory=dict, description="Fields for requests that do not have them.")
    tags: list[Tag] = Field(default_factory=list, max_length=32, description="For all, beside their own.")
    priority: str | None = Field(None, description="For requests that name none.")
    webhook_url: str | None = Field(None, description="Told of the end of the whole batch.")

    @field_validator("priority")
    @classmethod
    def _known_priority(cls, value: str | None) -> str | None:
        return known_priority(value)


_SCHEMA = {
    "requestBody": {
        "required": True,
        "content": {
            "application/json": {"schema": BatchBody.model_json_schema(ref_template="#/components/schemas/{model}")}
        },
    }
}


@router.post("/tts/batch", status_code=202, openapi_extra=_SCHEMA, responses={202: {"model": BatchAccepted}})
async def submit(request: Request, ctx: Ctx, caller: Submitter) -> JSONResponse:
    """Store many jobs in one go. Requests that are wrong are refused one by one; the others go on."""
    key = idempotency_key(request)
    data = await read_body(request, ctx.settings.limits.max_body_bytes)
    wanted = await asyncio.to_thread(_read, data, key, ctx.settings.limits.max_batch_requests)
    try:
        batch, jobs, created = await submit_batch(ctx.service, wanted, caller, _refusal)
    except NothingAccepted as error:
        found = [
            {"pointer": f"/requests/{refused['index']}{entry['pointer']}", "detail": entry["detail"]}
            for refused in error.errors
            for entry in refused["errors"] or [{"pointer": "", "detail": refused["detail"]}]
        ]
        return problem(422, "invalid_input", str(error), found)
    root = root_of(request)
    answer = _shown(batch, root) | {
        "jobs": [
            {"index": index, "custom_id": job.custom_id, "job_id": job.id}
            for index, job in zip(batch.indexes(), jobs, strict=True)
        ]
    }
    headers = {"Location": f"{root}/batches/{batch.id}"} | ({} if created else REPLAYED)
    return JSONResponse(answer, 202, headers=headers)


@router.get("/batches", responses={200: {"model": BatchList}})
async def batches(
    request: Request,
    ctx: Ctx,
    caller: Reader,
    limit: Annotated[int, Query(ge=1, le=500, description="Most batches in one answer.")] = 50,
    cursor: Annotated[str | None, Query(description="``next_cursor`` of the answer before.")] = None,
) -> JSONResponse:
    """Your batches, newest first."""
    before = read_cursor(cursor) if cursor else None
    found = await ctx.service.shop.batches.list_batches(caller.sees, before, limit + 1)
    last = found[limit - 1] if len(found) > limit else None
    following = cursor_of(last.created_at, last.id) if last else None
    headers = dict(_NO_STORE)
    root = root_of(request)
    if following:
        headers["Link"] = f'<{root}/batches?{request.url.include_query_params(cursor=following).query}>; rel="next"'
    shown = [_shown(batch, root) for batch in found[:limit]]
    return JSONResponse({"batches": shown, "next_cursor": following}, headers=headers)


@router.get("/batches/{batch_id}", responses={200: {"model": BatchStatus}})
async def batch(batch_id: str, request: Request, ctx: Ctx, caller: Reader) -> JSONResponse:
    """Where the batch stands."""
    return JSONResponse(_shown(await find_batch(ctx.service, batch_id, caller), root_of(request)), headers=_NO_STORE)


@router.get("/batches/{batch_id}/jobs", responses={200: {"model": BatchJobs}})
async def jobs(
    batch_id: str,
    request: Request,
    ctx: Ctx,
    caller: Reader,
    start: Annotated[int, Query(ge=0, le=1_000_000, description="Jobs to leave out.")] = 0,
    limit: Annotated[int, Query(ge=1, le=_MOST, description="Most jobs in one answer.")] = 100,
) -> JSONResponse:
    """The jobs of a batch in order, each as in the history and with its ``index``; deleted ones are left out."""
    found = await find_batch(ctx.service, batch_id, caller)
    page = await ctx.service.shop.batches.batch_jobs(found.id, start, limit + 1)
    shown = []
    for index, job in zip(found.indexes()[start:], page[:limit], strict=False):
        if not job.deleted:
            status = await ctx.service.status(job, root_of(request))
            text = await ctx.service.shop.ledger.read_text(job.id, 0, EXCERPT_OF)
            shown.append(listed(job, status, excerpt(text)) | {"index": index})
    following = start + limit if len(page) > limit else None
    return JSONResponse({"jobs": shown, "next_start": following}, headers=_NO_STORE)


@router.delete("/batches/{batch_id}", responses={200: {"model": BatchCancelled}})
async def cancel(batch_id: str, ctx: Ctx, caller: Submitter, purge: bool = False) -> JSONResponse:
    """Cancel what is unfinished of a batch; with ``purge=true`` delete all its texts and audio."""
    found = await find_batch(ctx.service, batch_id, caller)
    if purge:
        unfinished = found.jobs.get(JobStatus.QUEUED, 0) + found.jobs.get(JobStatus.RUNNING, 0)
        await purge_batch(ctx.service, found, caller)
        return JSONResponse({"message": f"Batch {batch_id} deleted", "cancelled": unfinished})
    cancelled = await ctx.service.shop.batches.cancel_batch(found.id, "cancelled by the user")
    return JSONResponse({"message": f"Batch {batch_id} cancelled successfully", "cancelled": cancelled})


@router.get("/batches/{batch_id}/result", response_class=Response)
async def result(
    batch_id: str,
    ctx: Ctx,
    caller: Reader,
    unfinished: Annotated[bool, Query(alias="partial", description="What is finished so far.")] = False,
) -> Response:
    """All finished files as a ZIP archive, with a ``manifest.json``."""
    found = await find_batch(ctx.service, batch_id, caller)
    if found.ended_at is None and not unfinished:
        headers = {"Retry-After": str(_RETRY_AFTER_S), **_NO_STORE}
        return problem(425, "too_early", f"batch {found.id} is running, {found.progress:g} % done", headers=headers)
    made = await ctx.service.shop.batches.batch_jobs(found.id, limit=found.total)
    manifest, members = await _contents(ctx, found, made)
    if not members:
        raise Gone(f"batch {found.id} has no finished file (any more)")
    headers = disposition(f"tts_batch_{found.id}.zip") | _NO_STORE
    pieces = archive(manifest, members)
    return StreamingResponse(_in_threads(pieces), media_type="application/zip", headers=headers)


async def _in_threads(pieces: Iterator[bytes]) -> AsyncIterator[bytes]:
    while data := await asyncio.to_thread(next, pieces, b""):
        yield data


def _pieces(store: BlobStore, name: str, loop: asyncio.AbstractEventLoop) -> Iterator[bytes]:
    """A blob, read by a thread that may wait."""
    stream = store.read(name)
    while data := asyncio.run_coroutine_threadsafe(_next(stream), loop).result():
        yield data


async def _next(stream: AsyncIterator[bytes]) -> bytes:
    return await anext(stream, b"")


async def _contents(ctx: Context, batch: Batch, jobs: Sequence[Job]) -> tuple[dict[str, object], list[Member]]:
    """What goes into the archive. Only files that are there now: whatever the ledger says, a member cannot be missing."""
    width = len(str(batch.total - 1))
    entries: list[dict[str, object]] = []
    members: list[Member] = []
    labels = [
        (job.custom_id or f"{index:0{width}d}", extension(job.request.output_format))
        for index, job in zip(batch.indexes(), jobs, strict=True)
    ]
    store, loop, turns = ctx.service.shop.results, asyncio.get_running_loop(), asyncio.Semaphore(_LOOKS)

    async def is_there(job: Job) -> bool:
        async with turns:
            return await ctx.service.results.stat(job) is not None

    found = await asyncio.gather(*map(is_there, jobs))
    for index, job, name, there in zip(batch.indexes(), jobs, safe_names(labels), found, strict=True):
        if there and job.result:
            pieces = partial(_pieces, store, job.result.name, loop)
            members.append(Member(name, pieces, job.result.size, time.gmtime(job.ended_at or job.created_at)[:6]))
        entries.append(
            {
                "index": index,
                "custom_id": job.custom_id,
                "job_id": job.id,
                "status": "deleted" if job.deleted else job.status.value,
                "error": job.error,
                "file": name if there else None,
                "duration_seconds": round(job.result.samples / job.result.rate, 3) if job.result else None,
                "seed": job.request.seed,
            }
        )
    return {"batch_id": batch.id, "files": entries, "refused": list(batch.errors)}, members


def _shown(batch: Batch, root: str) -> dict[str, Any]:
    base = f"{root}/batches/{batch.id}"
    return {
        "batch_id": batch.id,
        "status": "running" if batch.ended_at is None else "completed",
        "progress": batch.progress,
        "request_counts": request_counts(batch.jobs, batch.deleted, batch.total),
        "errors": list(batch.errors),
        "created_at": iso(batch.created_at),
        "ended_at": iso(batch.ended_at),
        "links": {"self": base, "jobs": f"{base}/jobs", "result": f"{base}/result", "cancel": base},
    }


def _refusal(item: Item, error: Exception) -> Mapping[str, Any]:
    """What is told of a refused item, in the words of a single submit."""
    status, code = kind_of(error)
    found = pointers_of(error)
    detail = str(error) if isinstance(error, InvalidInput) else "; ".join(str(entry["detail"]) for entry in found)
    return {
        "index": item.index,
        "custom_id": item.custom_id,
        "status": status,
        "code": code,
        "detail": detail or str(error),
        "errors": found,
    }


def _read(data: bytes, key: str | None, most: int) -> Wanted:
    """The body, item by item.

    Raises:
        pydantic.ValidationError: The batch itself is wrong.
        InvalidInput: It has too many requests.
    """
    body = BatchBody.model_validate_json(data)
    if len(body.requests) > most:
        raise InvalidInput(
            f"requests has {len(body.requests):,} items; the limit is {most:,} (limits.max_batch_requests)", "requests"
        )
    seen: set[str] = set()
    items = [_item(body, index, given, seen) for index, given in enumerate(body.requests)]
    fingerprint = hashlib.sha256(json.dumps(body.model_dump(), sort_keys=True).encode()).hexdigest() if key else ""
    return Wanted(items, body.webhook_url, key, fingerprint)


def _item(body: BatchBody, index: int, given: Any, seen: set[str]) -> Item:
    custom_id: str | None = None
    try:
        if not isinstance(given, dict):
            raise InvalidInput("a request must be an object")
        merged: dict[str, Any] = {"priority": body.priority, **body.defaults, **given}
        if given.get("custom_id") is not None:
            try:
                custom_id = _CUSTOM_ID.validate_python(given["custom_id"])
            except ValidationError:
                raise InvalidInput(
                    "custom_id must be text of 1 to 128 characters, without control characters", "custom_id"
                ) from None
            if custom_id in seen:
                raise InvalidInput(f"custom_id {custom_id!r} stands in this batch before", "custom_id")
            seen.add(custom_id)
        speech = SpeechBody.model_validate(merged)
        tags = list(dict.fromkeys([*speech.tags, *body.tags]))
        return Item(index, custom_id, SpeechBody.model_validate(merged | {"tags": tags}))
    except (InvalidInput, ValidationError) as error:
        return Item(index, custom_id, error)
