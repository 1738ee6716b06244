"""Fetches files of the Hugging Face hub into a folder: what broke off goes on where it was, what arrived is checked.

The hub library's own download starts over in every process, and compares sizes only. Here a file grows under a temporary name that
says its content, and gets its own name when its digest is the hub's. What is there is used without asking the hub.

Imports no model library, so that the command line can use it.
"""

import fcntl
import hashlib
import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from huggingface_hub import HfApi, get_hf_file_metadata, hf_hub_url
from huggingface_hub.file_download import http_get
from huggingface_hub.utils import build_hf_headers  # type: ignore[attr-defined] # public, but its types do not say so

from rhapsode.errors import EngineError

_FOLDER = ".fetching"
"""In the folder that files are fetched into: those that have not arrived yet."""
_SHA256 = re.compile(r"[0-9a-f]{64}")
"""What large files are tagged with; small ones are with the SHA-1 of git."""


def fetch(repository: str, name: str, folder: Path, revision: str | None = None, fresh: bool = False) -> Path:
    """A file of the hub, fetched unless it is there; progress is shown on standard error.

    Args:
        repository: ``owner/repository``.
        name: Path of the file in the repository, and in ``folder``.
        folder: Where it goes.
        revision: Branch, tag or commit.
        fresh: Ask the hub for it even if it is there.

    Raises:
        EngineError: It cannot be fetched, or what came is not what the hub has.
    """
    path = folder / name
    if path.is_file() and not fresh:
        return path
    try:
        with _alone(folder, name):
            if not path.is_file() or fresh:  # perhaps another process was quicker
                _fetch(repository, name, path, folder / _FOLDER, revision)
    except EngineError:
        raise
    except Exception as error:  # the hub library's errors have no common class
        raise EngineError(_reason(error)) from error
    return path


def names(repository: str) -> list[str]:
    """Paths of all files of a repository.

    Raises:
        EngineError: The hub cannot be asked.
    """
    try:
        return list(HfApi().list_repo_files(repository))
    except Exception as error:
        raise EngineError(_reason(error)) from error


def _fetch(repository: str, name: str, path: Path, drafts: Path, revision: str | None) -> None:
    meta = get_hf_file_metadata(hf_hub_url(repository, name, revision=revision))
    if not meta.etag or meta.size is None:
        raise EngineError(f"the hub says neither size nor digest of {name}")
    draft = drafts / meta.etag
    have = draft.stat().st_size if draft.is_file() else 0
    if have > meta.size:
        draft.unlink()
        have = 0
    address = hf_hub_url(repository, name, revision=meta.commit_hash or revision)
    with draft.open("ab") as file:
        http_get(
            address,
            file,
            resume_size=have,
            headers=build_hf_headers(),
            expected_size=meta.size,
            displayed_filename=name,
        )
    if _digest(draft, meta.etag) != meta.etag:
        draft.unlink()
        raise EngineError(f"{name} arrived damaged: its digest is not the hub's ({meta.etag}); fetch it again")
    path.parent.mkdir(parents=True, exist_ok=True)
    draft.replace(path)


def _digest(path: Path, etag: str) -> str:
    """Of the kind that the hub's is: of the content, or git's of a blob."""
    with path.open("rb") as file:
        if _SHA256.fullmatch(etag):
            return hashlib.file_digest(file, "sha256").hexdigest()
        blob = hashlib.sha1(f"blob {path.stat().st_size}\0".encode(), usedforsecurity=False)
        while part := file.read(1 << 20):
            blob.update(part)
        return blob.hexdigest()


@contextmanager
def _alone(folder: Path, name: str) -> Iterator[None]:
    """Let no other process fetch the same file at the same time."""
    place = folder / _FOLDER / f"{hashlib.sha256(name.encode()).hexdigest()[:16]}.lock"
    place.parent.mkdir(parents=True, exist_ok=True)
    with place.open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)  # of a dead process nothing stays locked
        yield


def _reason(error: Exception) -> str:
    """What went wrong, in one line."""
    said = next(iter(str(error).strip().splitlines()), "no reason given")
    return f"{type(error).__name__}: {said}"
