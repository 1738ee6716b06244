"""Put a segment that was made again into the result of its job: a new file, a new revision, in one step."""

import asyncio
import logging

from rhapsode.deliver.assemble import Assembled
from rhapsode.errors import BlobError, LedgerUnavailable, Refused, StorageFull, Unavailable
from rhapsode.failpoints import failpoint
from rhapsode.jobs.encoding import encode_takes
from rhapsode.jobs.joiner import Joiner, read_take, result_name, uninterrupted
from rhapsode.jobs.renditions import drop_renditions
from rhapsode.jobs.stored import store_result
from rhapsode.jobs.takes import JobEnded
from rhapsode.model import Job, Result, SegmentState, SegmentStatus

log = logging.getLogger(__name__)

_AGAIN_S = 0.1
_POLL_S = 10.0


class RedoJoiner(Joiner):
    """Finishes a job that makes one segment of another one again. A crash here starts assembling again, never synthesis.

    The file of before stays where it is, for those who read it now; the sweeper removes it.
    """

    async def _assemble(self) -> bool:
        data, state = await self._own_take()
        while True:
            parent = await self._shop.ledger.get_job(self._job.redo_of or "")
            if parent is None or parent.deleted or parent.result is None:
                raise JobEnded(parent, self._job.id)
            replaced = {state.segment.index: data}
            try:
                made = await encode_takes(self._shop, parent, parent.request.output_format, self._path, replaced)
                if await uninterrupted(self._revise(parent, parent.result, made)):
                    return True
            except Unavailable as error:
                log.info("job %s: %s", self._job.id, error)
                await asyncio.sleep(_AGAIN_S)
            finally:
                self._path.unlink(missing_ok=True)

    async def _own_take(self) -> tuple[bytes, SegmentState]:
        """The take of the only segment, waited for; made again when it is lost."""
        job_id = self._job.id
        with self._shop.hub.watch(job_id, frozenset({"segment.completed", "job.failed", "job.cancelled"})) as watch:
            while True:
                (state,) = await self._shop.ledger.segments(job_id, 0, 1) or (None,)
                if state is None or watch.ended:
                    raise JobEnded(await self._shop.ledger.get_job(job_id), job_id)
                if state.status is SegmentStatus.DONE:
                    try:
                        return await read_take(self._shop, state, patient=True), state
                    except BlobError as error:
                        await self._remake(state, error)
                await watch.wait(_POLL_S)

    async def _revise(self, parent: Job, old: Result, made: Assembled) -> bool:
        """Make the file the parent's result; False when that has changed since the takes were read."""
        shop, revision = self._shop, old.revision + 1
        name = result_name(parent, shop.clock(), revision)
        await store_result(shop, self._path, name)
        failpoint("redo.adopted")
        result = Result(name, old.format, made.size, made.digest, made.samples, made.rate, revision)
        try:
            revised = await shop.patience.keep_trying(
                lambda: shop.ledger.complete_redo(self._job.fence, old.revision, result), (LedgerUnavailable,)
            )
        except (Refused, StorageFull):  # nothing half-done stays behind
            await self._withdraw(name)
            raise
        if revised is None:
            if not await shop.ledger.known_results([name]):  # another redo may have made one of this name
                await self._withdraw(name)
            return False
        failpoint("redo.revised")
        await self._save(revised, name)
        await drop_renditions(shop, parent)
        return True
