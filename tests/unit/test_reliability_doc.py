"""The pages that tie promises and threats to tests name tests that exist."""

import ast
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "reliability.md").read_text(encoding="utf-8")
SECURITY = (ROOT / "docs" / "security.md").read_text(encoding="utf-8")
NAMED = sorted(set(re.findall(r"`(tests/[\w/]+\.py)::(\w+)`", PAGE + SECURITY)))


@pytest.mark.parametrize(("path", "name"), NAMED)
def test_named_tests_exist(path: str, name: str):
    tree = ast.parse((ROOT / path).read_text(encoding="utf-8"))
    functions = {node.name for node in tree.body if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)}
    assert name in functions


def test_every_promise_has_tests():
    rows = re.findall(r"^\| (P\d+) \|.*", PAGE, re.MULTILINE)
    assert rows == [f"P{number}" for number in range(1, 11)]
    for line in PAGE.splitlines():
        if line.startswith("| P"):
            assert "::" in line, line
