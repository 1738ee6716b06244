"""Subtitles of what is spoken of a job, written piece by piece."""

from collections.abc import AsyncGenerator, Callable, Sequence
from contextlib import aclosing
from dataclasses import dataclass
from enum import StrEnum

from rhapsode.deliver.subtitles import Cue, cues, srt_cue, vtt_cue, vtt_head
from rhapsode.deliver.timeline import Placer
from rhapsode.jobs.joiner import in_thread
from rhapsode.jobs.shop import Shop
from rhapsode.jobs.spoken import extent_of, finished_pages
from rhapsode.model import Job, SegmentState


class SubtitleFormat(StrEnum):
    """Formats of subtitles."""

    VTT = "vtt"
    SRT = "srt"


@dataclass(slots=True)
class _Writer:
    """Keeps the place on the timeline and the number of cues."""

    placer: Placer
    language: str
    write: Callable[[int, Cue], str]
    number: int = 0

    def page(self, states: Sequence[SegmentState]) -> bytes:
        """The cues of the next segments."""
        out: list[str] = []
        for state in states:
            if state.take is None:
                continue
            take, text = state.take, state.segment.text
            placed = self.placer.place(take.samples, state.segment.joint)
            for cue in cues(text, self.language, placed.start, take.samples, take.rate, take.words):
                self.number += 1
                out.append(self.write(self.number, cue))
        return "".join(out).encode()


async def subtitles(shop: Shop, job: Job, wanted: SubtitleFormat) -> AsyncGenerator[bytes, None]:
    """The subtitles of the finished prefix, all of a completed job; memory does not grow with the text.

    Raises:
        JobEnded, Unavailable: The job was deleted or changed meanwhile: what was sent is not the whole.
    """
    extent = await extent_of(shop.ledger, job)
    is_vtt = wanted is SubtitleFormat.VTT
    writer = _Writer(Placer(job.rate, job.request.pauses), job.request.language, vtt_cue if is_vtt else srt_cue)
    head = vtt_head().encode() if is_vtt else b""
    async with aclosing(finished_pages(shop.ledger, job, extent.segments)) as pages:
        async for page in pages:
            if piece := head + await in_thread(writer.page, page):
                yield piece
            head = b""
    if head:
        yield head
