"""Take pictures of every view of the page, with real speech behind it: ``.venv/bin/python scripts/screenshots.py [FOLDER]``.

Wide and narrow, light and dark. The two of the README are written to docs/images with ``--readme``.
"""

import argparse
import asyncio
import json
import shutil
import sys
import tempfile
from pathlib import Path

import httpx
import uvloop
from playwright.async_api import Browser, Page, async_playwright

from rhapsode.config import load_settings
from rhapsode.server import listen, serve

ROOT = Path(__file__).resolve().parents[1]
SIZES = {"wide": (1440, 900), "tablet": (768, 1024), "narrow": (320, 720)}
SAMPLE = """The Lighthouse

Every evening, just before the light went, old Mara climbed the one hundred and twelve steps of the tower. \
She did not count them any more. Her feet did.

"You could let the machine do it," her daughter said on the telephone. "That is what it is for."

"The machine does not look out of the window," said Mara, and lit the lamp.
"""
TALES = [
    "Sing to me of the man, Muse, the man of twists and turns.",
    "Call me Ishmael. Some years ago, never mind how long.",
    SAMPLE,
]


async def jobs(url: str) -> str:
    """Some finished jobs and one long one that runs; the id of a finished one to look at."""
    async with httpx.AsyncClient(base_url=url, timeout=60) as http:
        shown = ""
        for text in TALES:
            answer = await http.post("/tts/enqueue", json={"text": text, "output_format": "mp3", "seed": 7})
            shown = answer.json()["job_id"]
            await http.get(f"/tts/{shown}/status", headers={"Prefer": "wait=60"})
        cancelled = (await http.post("/tts/enqueue", json={"text": SAMPLE * 50})).json()["job_id"]
        await http.delete(f"/tts/{cancelled}")
        return shown


async def picture(page: Page, folder: Path, name: str) -> None:
    """One picture of the whole page."""
    await page.wait_for_timeout(400)
    await page.screenshot(path=folder / f"{name}.png", full_page=True)


async def views(browser: Browser, url: str, folder: Path, shown: str, problems: list[str]) -> None:
    """Every view in every size and theme."""
    for size, (width, height) in SIZES.items():
        for theme in ("light", "dark"):
            context = await browser.new_context(viewport={"width": width, "height": height}, color_scheme=theme)
            page = await context.new_page()
            page.on(
                "console",
                lambda message: problems.append(message.text) if message.type in {"error", "warning"} else None,
            )
            page.on("pageerror", lambda error: problems.append(str(error)))
            await page.goto(url)
            await page.get_by_role("textbox", name="Text").fill(SAMPLE)
            await page.get_by_text("segments", exact=False).first.wait_for()
            await page.wait_for_timeout(900)
            await picture(page, folder, f"studio-{size}-{theme}")
            async with httpx.AsyncClient(base_url=url) as http:
                long = (await http.post("/tts/enqueue", json={"text": SAMPLE * 40, "priority": "batch"})).json()[
                    "job_id"
                ]
                more = (await http.post("/tts/enqueue", json={"text": SAMPLE * 20, "priority": "batch"})).json()[
                    "job_id"
                ]
                await page.evaluate("id => localStorage.setItem('tts_current_job_id', id)", long)
                await page.reload()
                await page.get_by_role("progressbar").wait_for()
                await page.wait_for_timeout(2500)
                await picture(page, folder, f"running-{size}-{theme}")
                await page.goto(f"{url}/#/queue")
                await page.get_by_role("checkbox").first.wait_for()
                await picture(page, folder, f"queue-{size}-{theme}")
                await page.evaluate("id => localStorage.setItem('tts_current_job_id', id)", shown)
                await page.goto("about:blank")
                for job in (long, more):
                    await http.delete(f"/tts/{job}?purge=true")
            await page.goto(f"{url}/#/studio")
            await page.reload()
            await page.get_by_role("group", name="Player").wait_for()
            await page.wait_for_timeout(1200)
            await page.evaluate("document.getElementById('sound').currentTime = 9")
            await page.get_by_role("slider", name="Segments").focus()
            await page.keyboard.press("ArrowRight")
            await picture(page, folder, f"finished-{size}-{theme}")
            for view, ready in (
                ("history", "Show|job"),
                ("voices", "Ready to speak"),
                ("settings", "Reset everything"),
            ):
                await page.goto(f"{url}/#/{view}")
                await page.locator("main").get_by_text(ready.split("|")[-1]).first.wait_for()
                await picture(page, folder, f"{view}-{size}-{theme}")
            await context.close()


async def take(folder: Path) -> list[str]:
    """All pictures; what the browser complained about."""
    problems: list[str] = []
    with tempfile.TemporaryDirectory(prefix="rhapsode-pictures-") as data:
        loaded = load_settings(None, Path(data), env={}, overrides={"server.port": 0})
        ready: asyncio.Future[tuple[str, object]] = asyncio.get_running_loop().create_future()
        sock = listen(loaded.settings)
        running = asyncio.create_task(serve(loaded, sock, lambda url, stop: ready.set_result((url, stop))))
        url, stop = await ready
        chromium = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
        async with async_playwright() as tools:
            browser = await tools.chromium.launch(
                executable_path=chromium, args=["--no-sandbox", "--autoplay-policy=no-user-gesture-required"]
            )
            shown = await jobs(url)
            await views(browser, url, folder, shown, problems)
            await browser.close()
        if callable(stop):
            stop()
        await running
    return problems


def main() -> int:
    """1 when the browser complained."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path, nargs="?", default=Path("/tmp/rhapsode-pictures"))
    parser.add_argument("--readme", action="store_true", help="also write the pictures of the README")
    options = parser.parse_args()
    options.folder.mkdir(parents=True, exist_ok=True)
    problems = uvloop.run(take(options.folder))
    for name in ("finished-wide-light", "running-wide-dark") if options.readme else ():
        (ROOT / "docs" / "images").mkdir(exist_ok=True)
        shutil.copy(options.folder / f"{name}.png", ROOT / "docs" / "images" / f"{name}.png")
    print(json.dumps(sorted(set(problems)), indent=2))
    return 1 if problems else 0


if __name__ == "__main__":
    sys.exit(main())
