"""Copies of finished files for the user (``audio_output.save_to_disk``): his from then on, never swept."""

import errno
import filecmp
import re
import shutil
import time
import uuid
from pathlib import Path

from rhapsode.audio.encode import extension
from rhapsode.model import Job

_NO_LINK = frozenset({errno.EXDEV, errno.EPERM, errno.EMLINK, errno.ENOTSUP, errno.EOPNOTSUPP})


def output_name(job: Job, at: float) -> str:
    """``tts_output_<voice>_<YYYYMMDD_HHMMSS>.<ext>``, ASCII only, time in UTC."""
    voice = re.sub(r"[^A-Za-z0-9._-]+", "_", Path(job.request.voice).stem).strip("._") or "voice"
    stamp = time.strftime("%Y%m%d_%H%M%S", time.gmtime(at))
    return f"tts_output_{voice}_{stamp}.{extension(job.request.output_format)}"


class SavedCopies:
    """Keeps copies in one folder.

    Args:
        folder: The folder; made when it is missing.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def save(self, job: Job, source: Path) -> Path | None:
        """Keep a copy of a finished file: a hard link where the file system can, else a real copy.

        Named after the time at which the job was submitted, so that a job which is assembled again after a crash finds
        its copy; another file of that name is left alone, a number is added.

        Returns:
            The copy, or None when it was there already.

        Raises:
            OSError: It cannot be kept.
        """
        self._folder.mkdir(parents=True, exist_ok=True)
        wanted = self._folder / output_name(job, job.created_at)
        target, number = wanted, 1
        while target.exists():
            if filecmp.cmp(source, target, shallow=False):
                return None
            number += 1
            target = wanted.with_name(f"{wanted.stem}_{number}{wanted.suffix}")
        _place(source, target)
        return target


def _place(source: Path, target: Path) -> None:
    """Give ``source`` a second name or, where that is not possible, copy it."""
    try:
        target.hardlink_to(source)
    except OSError as error:
        if error.errno not in _NO_LINK:
            raise
    else:
        return
    draft = target.with_name(f".tmp-{uuid.uuid4().hex}")
    try:
        shutil.copyfile(source, draft)
        draft.replace(target)
    finally:
        draft.unlink(missing_ok=True)
