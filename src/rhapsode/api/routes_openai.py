"""What OpenAI's clients ask for: ``/v1/audio/speech``, ``/v1/models``, ``/v1/audio/voices``."""

import asyncio
import base64
import contextlib
import json
from collections.abc import AsyncGenerator
from typing import Any, Literal

import numpy as np
import soxr
from fastapi import APIRouter, Request, Response
from fastapi.responses import JSONResponse
from pydantic import BaseModel, ConfigDict, Field, field_validator

from rhapsode.api.audio import AS_IT_COMES, LiveResponse, job_headers, live_response, next_piece, spoken_response
from rhapsode.api.body import read_body
from rhapsode.api.connection import while_connected
from rhapsode.api.context import Context, Ctx, Reader, Submitter
from rhapsode.api.idempotency import idempotency_key
from rhapsode.api.openai_form import in_their_form
from rhapsode.audio.wav import to_float32, to_int16
from rhapsode.errors import NotFound
from rhapsode.jobs.live import live_audio
from rhapsode.jobs.request import SpeechBody
from rhapsode.model import AudioFormat, Job

router = APIRouter(prefix="/v1", tags=["openai"])

PCM_RATE = 24_000
"""Hz; what clients of OpenAI take raw samples to be."""
_THEIR_VOICES = frozenset(
    ["alloy", "ash", "ballad", "cedar", "coral", "echo", "fable", "marin", "nova", "onyx", "sage", "shimmer", "verse"]
)  # fmt: skip
_THEIR_MODELS = ("tts-1", "tts-1-hd", "gpt-4o-mini-tts")
_FILES = frozenset({AudioFormat.WAV, AudioFormat.FLAC})
"""Formats whose header tells the length: sent when it is known, unless a stream is asked for."""


class TheirVoice(BaseModel):
    """A voice as an object."""

    id: str


class TheirSpeech(BaseModel):
    """Body of ``POST /v1/audio/speech``. Unknown fields are ignored."""

    model_config = ConfigDict(frozen=True, extra="ignore", allow_inf_nan=False)

    input: str = Field(description="What to speak.")
    model: str = Field("tts-1", description="An engine of `GET /engines`; by any other name the active one speaks.")
    voice: str | TheirVoice | None = Field(
        None, description="A predefined voice, a reference recording, or one of OpenAI's names (openai.voices)."
    )
    response_format: Literal["mp3", "opus", "aac", "flac", "wav", "pcm"] | None = Field(
        None, description="null: openai.default_format. pcm has 24,000 Hz, 16 bit, mono."
    )
    speed: float | None = Field(None, ge=0.25, le=4)
    stream_format: Literal["audio", "sse"] | None = Field(
        None, description="Send it as it is made: plain, or as events."
    )
    instructions: str | None = Field(None, description="Taken, and not heeded: no engine here can.")
    seed: int | None = Field(None, ge=-1, le=2**32 - 1)
    language: str | None = None

    @field_validator("input")
    @classmethod
    def _not_blank(cls, value: str) -> str:
        if not value or value.isspace():
            raise ValueError("must not be blank")
        return value


_SCHEMA = {
    "requestBody": {
        "required": True,
        "content": {
            "application/json": {"schema": TheirSpeech.model_json_schema(ref_template="#/components/schemas/{model}")}
        },
    }
}
_AUDIO: dict[int | str, dict[str, Any]] = {
    200: {
        "description": "The audio, or events with it.",
        "content": {f"audio/{kind}": {} for kind in ("wav", "opus", "mpeg", "flac", "aac")} | {"text/event-stream": {}},
    }
}


@router.post("/audio/speech", openapi_extra=_SCHEMA, responses=_AUDIO, response_class=Response)
async def speech(request: Request, ctx: Ctx, caller: Submitter) -> Response:
    """Speak a text. The job is cancelled when the client leaves."""
    key = idempotency_key(request)
    asked = TheirSpeech.model_validate_json(await read_body(request, ctx.settings.limits.max_body_bytes))
    ctx.service.require_engine()
    audio_format = AudioFormat(asked.response_format or ctx.settings.openai.default_format)
    job = await ctx.service.submit(await _body(ctx, asked, audio_format), caller, attached=True, idempotency_key=key)
    if asked.stream_format == "sse":
        return await _events(ctx, job, request, audio_format)
    if audio_format is AudioFormat.PCM:
        return await _samples(ctx, job, request)
    if audio_format not in _FILES or asked.stream_format == "audio":
        return await live_response(ctx.service, job, request, audio_format)
    return in_their_form(await spoken_response(ctx.service, job, request))


@router.get("/models")
async def models(ctx: Ctx, _: Reader) -> dict[str, object]:
    """The engines, and the names that OpenAI's clients use."""
    return {"object": "list", "data": [_model(name) for name in await _model_names(ctx)]}


@router.get("/models/{model_id}")
async def model(model_id: str, ctx: Ctx, _: Reader) -> dict[str, object]:
    """One of them."""
    if model_id not in await _model_names(ctx):
        raise NotFound(f"there is no model {model_id[:100]!r}", "model")
    return _model(model_id)


@router.get("/audio/voices")
async def voices(ctx: Ctx, _: Reader) -> JSONResponse:
    """Names that ``voice`` can be."""
    described = await ctx.service.all_described(refresh=True)
    names = [voice.id for one in described for voice in one.voices]
    if any(one.info.can_clone for one in described):
        names += await asyncio.to_thread(ctx.service.references)
    return JSONResponse({"status": "ok", "voices": list(dict.fromkeys(names))})


async def _model_names(ctx: Context) -> list[str]:
    return [*ctx.service.shop.fleet.engines(), *_THEIR_MODELS]


def _model(name: str) -> dict[str, object]:
    return {"id": name, "object": "model", "created": 0, "owned_by": "rhapsode"}


async def _body(ctx: Context, asked: TheirSpeech, audio_format: AudioFormat) -> SpeechBody:
    """The same request in our words."""
    voice = asked.voice.id if isinstance(asked.voice, TheirVoice) else asked.voice
    wanted = ctx.service.settings.openai.aliases.get((voice or "").lower(), voice)
    engine = asked.model if asked.model in ctx.service.shop.fleet.engines() else None
    body: dict[str, object] = {
        "text": asked.input,
        "engine": engine,
        "output_format": audio_format.value if audio_format.value in ("wav", "flac", "mp3", "opus") else "wav",
        "speed_factor": asked.speed,
        "seed": asked.seed,
        "language": asked.language,
    }
    if wanted and not (wanted == voice and wanted.lower() in _THEIR_VOICES):
        described = await ctx.service.described(engine or ctx.service.engine_of(wanted))
        if described.voice(wanted) is None and wanted in await asyncio.to_thread(ctx.service.references):
            body |= {"voice_mode": "clone", "reference_audio_filename": wanted}
        else:
            body["predefined_voice_id"] = wanted
    return SpeechBody.model_validate(body)


async def _samples(ctx: Context, job: Job, request: Request) -> Response:
    """Raw samples at the rate that clients of OpenAI expect."""
    stream = _resampled(ctx, job)
    try:
        first = await while_connected(request, next_piece(stream))
    except BaseException:
        await stream.aclose()
        raise
    headers = job_headers(job) | AS_IT_COMES
    return LiveResponse(request, first, stream, headers=headers, media_type="audio/pcm")


async def _resampled(ctx: Context, job: Job) -> AsyncGenerator[bytes, None]:
    described = await ctx.service.described(job.request.engine)
    voice = described.voice(job.request.voice)
    rate = job.request.rate or (voice.sample_rate if voice else described.info.sample_rate or PCM_RATE)
    # In floats: soxr dithers integers, and then the same takes would not be the same bytes.
    resampler = soxr.ResampleStream(rate, PCM_RATE, 1, dtype="float32") if rate != PCM_RATE else None
    async with (
        ctx.service.attend(job),
        contextlib.aclosing(live_audio(ctx.service.shop, ctx.service.scheduler, job, AudioFormat.PCM)) as stream,
    ):
        async for data in stream:
            if resampler is None:
                yield data
            elif (out := resampler.resample_chunk(to_float32(np.frombuffer(data, "<i2")))).size:
                yield to_int16(out).tobytes()
        if resampler is not None:
            yield to_int16(resampler.resample_chunk(np.zeros(0, np.float32), last=True)).tobytes()


async def _events(ctx: Context, job: Job, request: Request, audio_format: AudioFormat) -> Response:
    """The audio in events, as it is made."""
    stream = _delta(ctx, job, audio_format)
    try:
        first = await while_connected(request, next_piece(stream))
    except BaseException:
        await stream.aclose()
        raise
    headers = job_headers(job) | AS_IT_COMES
    return LiveResponse(request, first, stream, headers=headers, media_type="text/event-stream")


async def _delta(ctx: Context, job: Job, audio_format: AudioFormat) -> AsyncGenerator[bytes, None]:
    async with contextlib.AsyncExitStack() as stack:
        if audio_format is AudioFormat.PCM:
            stream = _resampled(ctx, job)
        else:
            await stack.enter_async_context(ctx.service.attend(job))
            stream = live_audio(ctx.service.shop, ctx.service.scheduler, job, audio_format)
        await stack.enter_async_context(contextlib.aclosing(stream))
        async for data in stream:
            yield _event({"type": "speech.audio.delta", "audio": base64.b64encode(data).decode()})
        usage = {"input_tokens": job.text_chars, "output_tokens": 0, "total_tokens": job.text_chars}
        yield _event({"type": "speech.audio.done", "usage": usage})


def _event(data: dict[str, object]) -> bytes:
    return f"data: {json.dumps(data, separators=(',', ':'))}\n\n".encode()
