"""The page in the browser, the reference of the API, and saved files."""

import mimetypes
import secrets
from importlib import resources
from pathlib import Path

from fastapi import APIRouter, Request
from fastapi.responses import HTMLResponse, Response

from rhapsode.api.context import Admin, Context, Ctx, root_of
from rhapsode.api.ranges import FileInParts
from rhapsode.errors import NotFound

router = APIRouter(include_in_schema=False)

_NONCE = "__NONCE__"
_POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self' 'nonce-{nonce}'; img-src 'self' data: blob:; media-src 'self' blob:; "
    "connect-src 'self'; font-src 'self'; worker-src 'self'; manifest-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
_DOCS_POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self' 'unsafe-inline'; img-src 'self' data:; connect-src 'self'; "
    "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
_OWN_PAGE = {"Content-Security-Policy": "frame-ancestors 'self'"}
"""Of a page of the operator's own: what it loads is his to say."""
_FOR_EVER = {"Cache-Control": "public, max-age=31536000, immutable"}

mimetypes.add_type("text/javascript", ".js")

_NOT_BUILT = """<!doctype html><html lang="en"><meta charset="utf-8"><title>Rhapsode</title>
<h1>Rhapsode runs, but its page was not built</h1>
<p>The API works; see <a href="docs">its reference</a>. To build the page, run <code>./start.sh</code> with the network at hand,
or <code>python scripts/page.py</code>.</p></html>"""


def web_folder() -> Path:
    """Where the built page lies."""
    return Path(str(resources.files("rhapsode"))) / "web"


@router.get("/")
@router.head("/")
async def page(request: Request, ctx: Ctx) -> Response:
    """The page."""
    own = ctx.settings.ui.directory
    if own is not None:
        return _file(own, "index.html", {"Cache-Control": "no-cache"} | _OWN_PAGE)
    nonce = secrets.token_urlsafe(16)
    headers = {"Content-Security-Policy": _POLICY.format(nonce=nonce), "Cache-Control": "no-cache"}
    return HTMLResponse(_html(ctx, "index.html").replace(_NONCE, nonce), headers=headers)


@router.get("/docs")
async def docs(request: Request, ctx: Ctx) -> Response:
    """The reference of the API, to be tried out; needs no other site."""
    root = root_of(request)
    html = _html(ctx, "docs.html").replace('href="./', f'href="{root}/').replace('src="./', f'src="{root}/')
    return HTMLResponse(html, headers={"Content-Security-Policy": _DOCS_POLICY, "Cache-Control": "no-cache"})


@router.get("/assets/{path:path}")
@router.head("/assets/{path:path}")
async def asset(path: str, request: Request) -> Response:
    """A part of the page; its name changes with its content."""
    folder = web_folder() / "assets"
    if "gzip" in request.headers.get("accept-encoding", "") and _lies_in(folder, path + ".gz").is_file():
        kind = mimetypes.guess_type(path)[0] or "application/octet-stream"
        return FileInParts(
            _lies_in(folder, path + ".gz"),
            media_type=kind,
            headers=_FOR_EVER | {"Content-Encoding": "gzip", "Vary": "Accept-Encoding"},
        )
    return _file(folder, path, _FOR_EVER | {"Vary": "Accept-Encoding"})


@router.get("/favicon.svg")
async def icon() -> Response:
    """The page's icon."""
    return _file(web_folder(), "favicon.svg", {"Cache-Control": "max-age=86400"})


@router.head("/outputs/{path:path}", include_in_schema=False)
@router.get("/outputs/{path:path}")
async def saved(path: str, ctx: Ctx, _: Admin) -> Response:
    """A file that was saved for the user (``audio_output.save_to_disk``)."""
    return _file(ctx.settings.paths.output, path, {"Cache-Control": "no-cache"})


@router.get("/ui/{path:path}")
@router.get("/vendor/{path:path}")
@router.get("/styles.css")
@router.get("/script.js")
async def own_part(request: Request, ctx: Ctx, path: str = "") -> Response:
    """A part of a page of the operator's own (``ui.directory``), in which ``/ui`` may be a folder or stand for the whole."""
    own = ctx.settings.ui.directory
    if own is None:
        raise NotFound("there is nothing at this address")
    first, _, rest = request.scope["path"].removeprefix(root_of(request)).strip("/").partition("/")
    if first == "ui" and not _lies_in(own, f"ui/{rest}").is_file():
        return _file(own, rest, _OWN_PAGE)
    return _file(own, f"{first}/{rest}" if rest else first, _OWN_PAGE)


def _html(ctx: Context, name: str) -> str:
    path = web_folder() / name
    return path.read_text(encoding="utf-8") if path.is_file() else _NOT_BUILT


def _lies_in(folder: Path, name: str) -> Path:
    """A file somewhere below a folder, links followed.

    Raises:
        NotFound: It lies elsewhere, or cannot be named.
    """
    try:
        found = (folder / name).resolve()
        inside = found.is_relative_to(folder.resolve())
    except (OSError, ValueError):
        inside = False
    if not inside or any(part.startswith(".") for part in Path(name).parts):
        raise NotFound("there is no such file")
    return found


def _file(folder: Path, name: str, headers: dict[str, str]) -> Response:
    found = _lies_in(folder, name)
    if not found.is_file():
        raise NotFound("there is no such file")
    return FileInParts(found, headers=headers)
