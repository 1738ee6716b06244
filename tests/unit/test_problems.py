"""The catalogue of errors is complete, and the pages made from the code are those in docs/."""

import re
import subprocess
import sys
from pathlib import Path

from rhapsode.api.problems import CATALOGUE

ROOT = Path(__file__).parents[2]
_CODE = re.compile(r'problem\(\s*(?P<status>\d{3}), "(?P<code>\w+)"|, (?P<kind_status>\d{3}), "(?P<kind_code>\w+)"\)')


def test_every_error_that_is_sent_stands_in_the_catalogue() -> None:
    sent = {
        (match["code"] or match["kind_code"], int(match["status"] or match["kind_status"]))
        for page in (ROOT / "src" / "rhapsode" / "api").glob("*.py")
        for match in _CODE.finditer(page.read_text(encoding="utf-8"))
    }
    assert len(sent) > 8
    for code, status in sent:
        assert status in CATALOGUE[code].statuses, f"{code} is sent with {status}"


def test_the_pages_made_from_the_code_are_up_to_date() -> None:
    done = subprocess.run(
        [sys.executable, str(ROOT / "scripts" / "docs.py"), "--check"], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
