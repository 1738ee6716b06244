"""The voice library: voices and reference recordings as files that an operator can drop in, and that the API adds, renames and deletes."""

import asyncio
import filecmp
import os
import re
import shutil
import unicodedata
import uuid
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path, PurePath

from rhapsode.errors import Conflict, InvalidInput, NotFound
from rhapsode.jobs.clips import Clip, Clips
from rhapsode.jobs.consents import Consent, Consents
from rhapsode.ledger.base import JobFilter, Ledger
from rhapsode.model import JobStatus, Voice
from rhapsode.settings import Settings

RECORDINGS = (".wav", ".mp3")
VOICE_FILES = (*RECORDINGS, ".onnx", ".onnx.json")
_MOST_BYTES = 180
_RESERVED = re.compile(r"(con|prn|aux|nul|(com|lpt)[\d¹²³])(\..*)?", re.IGNORECASE)
_UNFINISHED = (JobStatus.QUEUED, JobStatus.RUNNING)


@dataclass(frozen=True, slots=True)
class Recording:
    """A reference recording to clone a voice from."""

    filename: str
    bytes: int
    changed_at: float
    """Seconds since the epoch."""
    consent: Consent | None
    """None: it is unknown whether there is any."""


class Library:
    """The two folders. Blocking work is done in threads.

    Args:
        settings: Where they are, and how long recordings may be.
        ledger: Knows which voices are needed.
        clips: Makes what is cloned from of the recordings.
        consents: Knows what was said of the recordings.
    """

    def __init__(self, settings: Settings, ledger: Ledger, clips: Clips, consents: Consents) -> None:
        self._voices = settings.tts_engine.predefined_voices_path
        self._recordings = settings.tts_engine.reference_audio_path
        self._max_s = settings.audio_output.max_reference_duration_sec
        self._ledger = ledger
        self._clips = clips
        self._consents = consents

    def names(self) -> list[str]:
        """Of all reference recordings, sorted. Reads the folder anew."""
        return [path.name for path in _sounds(self._recordings)]

    def recordings(self) -> list[Recording]:
        """All reference recordings, by name. Reads the folder anew."""
        found = []
        for path in _sounds(self._recordings):
            try:
                stat = path.stat()
                consent = self._consents.of(path)
            except OSError:
                continue
            found.append(Recording(path.name, stat.st_size, stat.st_mtime, consent))
        return found

    def recording(self, name: str) -> tuple[Recording, Path]:
        """One of them, and where it lies.

        Raises:
            NotFound: There is none of that name.
        """
        found = next((one for one in self.recordings() if one.filename == name), None)
        if found is None:
            raise NotFound(f"there is no recording {name[:100]!r}", "voice_id")
        return found, self._recordings / name

    async def clip(self, name: str) -> Clip:
        """The clip to clone the voice of a reference recording from.

        Raises:
            NotFound: There is no such recording.
            InvalidInput: It is none that can be cloned; says why.
        """
        _, path = await asyncio.to_thread(self.recording, name)
        try:
            return await self._clips.of(path, self._max_s)
        except InvalidInput as error:
            raise InvalidInput(f"recording {name!r}: {error}", "reference_audio_filename", 400) from error

    async def add_recording(self, name: str, source: Path, consent: Consent | None = None) -> str:
        """Take a reference recording in; the name that it got. One of that name that is there already stays as it is.

        Args:
            name: What it is to be called.
            source: The file, which stays.
            consent: What was said of it.

        Raises:
            InvalidInput: It is no sound, is too long, or is called like no file can be.
            OSError: It cannot be stored.
        """
        name = clean_name(name, RECORDINGS)
        target = self._recordings / name
        if not target.exists():
            await self._clips.make(source, self._max_s)
            await asyncio.to_thread(_place, source, target)
        await asyncio.to_thread(self._record, consent, source, target)
        return name

    async def add_voice(self, name: str, source: Path, consent: Consent | None = None) -> str:
        """Take a file of a predefined voice in, as :meth:`add_recording` does; whether an engine can speak it shows in its list.

        Raises:
            InvalidInput, OSError: See there.
        """
        name = clean_name(name, VOICE_FILES)
        target = self._voices / name
        sound = name.lower().endswith(RECORDINGS)
        if not target.exists():
            if sound:
                if other := _namesake(target):
                    raise InvalidInput(f"there is already a voice {target.stem!r}: {other}")
                await self._clips.make(source, self._max_s)
            elif not (await asyncio.to_thread(source.stat)).st_size:
                raise InvalidInput("it is empty")
            await asyncio.to_thread(_place, source, target)
        if sound:
            await asyncio.to_thread(self._record, consent, source, target)
        return name

    def _record(self, consent: Consent | None, sent: Path, target: Path) -> None:
        """Keep what was said of what was sent, unless a file of other content has its name."""
        if consent is not None and filecmp.cmp(sent, target, shallow=False):
            self._consents.record(target, consent)

    def consent_to(self, voice: Voice) -> tuple[bool, Consent | None]:
        """Whether a predefined voice is a recording in the folder of voices, and what is known of it."""
        path = next((path for path in self.files_of(voice) if path.suffix.lower() in RECORDINGS), None)
        try:
            return path is not None, self._consents.of(path) if path else None
        except OSError:
            return True, None

    def files_of(self, voice: Voice) -> list[Path]:
        """The files of a predefined voice in the folder of voices; none when it came with its engine or was downloaded."""
        name = PurePath(voice.filename)
        base = self._voices / f"{name.stem.partition('#')[0]}{name.suffix}"
        return [path for path in (base, base.with_name(base.name + ".json")) if path.is_file()]

    async def rename_voice(self, voice: Voice, name: str) -> str:
        """Rename the files of a predefined voice; its new id.

        Raises:
            Conflict: It is not in the folder of voices, unfinished jobs need it, or the name is taken.
            InvalidInput: No file can be called so.
        """
        files = await self._own_files(voice)
        old = files[0]
        fresh = old.with_name(clean_name(f"{PurePath(name).name}{old.suffix}", (old.suffix,)))
        if fresh.suffix.lower() in RECORDINGS and (other := _namesake(fresh)):
            raise Conflict(f"there is already a voice {fresh.stem!r}: {other}")
        targets = [path.with_name(path.name.replace(old.name, fresh.name, 1)) for path in files]
        await asyncio.to_thread(_rename, files, targets)
        return fresh.stem

    async def delete_voice(self, voice: Voice) -> None:
        """Delete the files of a predefined voice.

        Raises:
            Conflict: It is not in the folder of voices, or unfinished jobs need it.
        """
        for path in await self._own_files(voice):
            await asyncio.to_thread(self._delete, path)

    async def rename_recording(self, name: str, wanted: str) -> str:
        """Rename a reference recording; the ending stays. The new name. Jobs that clone it go on.

        Raises:
            NotFound, Conflict, InvalidInput: There is none, the name is taken or cannot be.
        """
        _, path = await asyncio.to_thread(self.recording, name)
        stem = wanted[: -len(path.suffix)] if wanted.lower().endswith(path.suffix.lower()) else wanted
        fresh = path.with_name(clean_name(stem + path.suffix, (path.suffix.lower(),)))
        await asyncio.to_thread(_rename, [path], [fresh])
        return fresh.name

    async def delete_recording(self, name: str) -> None:
        """Delete a reference recording, and what was said of it. Jobs that clone it go on: they have its clip.

        Raises:
            NotFound: There is none.
        """
        _, path = await asyncio.to_thread(self.recording, name)
        self._clips.forget(path)
        await asyncio.to_thread(self._delete, path)

    def _delete(self, path: Path) -> None:
        """Delete a file, and what was said of it."""
        if path.suffix.lower() in RECORDINGS:
            self._consents.forget(path, [*_sounds(self._recordings), *_sounds(self._voices)])
        path.unlink(missing_ok=True)

    async def _own_files(self, voice: Voice) -> list[Path]:
        files = await asyncio.to_thread(self.files_of, voice)
        if not files:
            raise Conflict(
                f"voice {voice.id!r} came with its engine or was downloaded; only files in {self._voices} can be changed"
            )
        await self._require_unused(voice.id)
        return files

    async def _require_unused(self, voice: str) -> None:
        page = await self._ledger.list_jobs(JobFilter(owner=None, statuses=_UNFINISHED, voice=voice), None, 1)
        if page.jobs:
            raise Conflict(f"voice {voice!r} is needed by job {page.jobs[0].job.id}, which has not ended")


def _sounds(folder: Path) -> list[Path]:
    """The recordings in a folder, by name."""
    found = sorted(folder.glob("*"))
    return [path for path in found if path.suffix.lower() in RECORDINGS and not path.name.startswith(".")]


def _namesake(path: Path) -> str | None:
    """The recording that differs from this one in its ending alone, if there is one: as voices they would share a name."""
    return next((one.name for one in _sounds(path.parent) if one.stem == path.stem and one.name != path.name), None)


def clean_name(name: str, suffixes: Sequence[str]) -> str:
    """A name that is one file in one folder on every system, whatever was sent.

    Raises:
        InvalidInput: It has none of the suffixes, or nothing is left of it.
    """
    base = unicodedata.normalize("NFC", name.replace("\\", "/").rsplit("/", 1)[-1])
    suffix = next((s for s in sorted(suffixes, key=len, reverse=True) if base.lower().endswith(s)), None)
    if suffix is None:
        raise InvalidInput(f"the name must end with {' or '.join(suffixes)}")
    stem = "".join(
        c if c.isalnum() or c in " ._-()+," or unicodedata.category(c).startswith("M") else "_"
        for c in base[: -len(suffix)]
    )
    stem = stem.strip(" .")
    while len(stem.encode()) > _MOST_BYTES:
        stem = stem[:-1]
    stem = stem.strip(" .")
    if not stem.strip("_"):
        raise InvalidInput("nothing is left of the name that a file can be called")
    if _RESERVED.fullmatch(stem):
        stem = f"_{stem}"
    return stem + suffix


def _place(source: Path, target: Path) -> None:
    """Copy a file to where it belongs, in one step; one that is there already stays."""
    target.parent.mkdir(parents=True, exist_ok=True)
    draft = target.with_name(f".tmp-{uuid.uuid4().hex}")
    try:
        with source.open("rb") as read, draft.open("xb") as write:
            shutil.copyfileobj(read, write)
            write.flush()
            os.fsync(write.fileno())
        if not target.exists():
            draft.replace(target)
    finally:
        draft.unlink(missing_ok=True)


def _rename(files: Sequence[Path], targets: Sequence[Path]) -> None:
    for path, target in zip(files, targets, strict=True):
        if target.exists() and target not in files:
            raise Conflict(f"there is already a file {target.name!r}")
        if path != target:
            path.rename(target)
