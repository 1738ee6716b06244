"""Speed of the planner on hostile texts, as a ratio to plain prose: ``python bench/planner.py [megabytes]``."""

import random
import sys
import time

from rhapsode.text.plan import WINDOW, PlanCursor, PlanOptions, plan_batch

PROSE = (
    "It was the best of times, it was the worst of times; Mr. Jones of 12 Hill St. paid $3.50 for the paper on "
    "May 5, 1984, and read it aloud. “What news?” asked Dr. Brown. “None,” he said, “that I would call news.” "
    "They walked on in silence until the road, which had been dry all summer, turned towards the old mill.\n\n"
)
_random = random.Random(7)
KINDS = {
    "prose": PROSE,
    "hard-wrapped prose": PROSE.replace(" he ", "\nhe ").replace(" and ", "\nand "),
    "one word": "x",
    "opening quotes": "“",
    "straight quotes": '"',
    "apostrophes": "'",
    "newlines": "\n",
    "spaces": " ",
    "a.": "a.",
    "Dr.": "Dr. ",
    "short sentences": "Hi. ",
    "short lines": "Aa\n",
    "emoji": "😀",
    "emoji between words": "😀 a",
    "combining marks": "\u0301",
    "mixed combining marks": "\u0301\u0323\u05b0\u0345\u093c",
    "letter floods": "a" + "\u0301\u0323" * 40,
    "brackets": "[",
    "tags": "[sigh]",
    "half links": "[a](http://b",
    "half markup": "<a ",
    "asterisks": "*a",
    "pipes": "| a ",
    "control characters": "\x00",
    "CJK": "我们去北京看看",
    "CJK sentences": "我们去。",
    "full-width letters": "Ａｂ",
    "Devanagari": "यह किताब है। ",
    "digits": "7",
    "grouped digits": "1,000,",
    "money": "$1.50 ",
    "URLs": "https://example.com/a/b?c=d ",
    "one URL": "/ab?c=",
    "mixed": "".join(_random.choice("ab A.!?。\"'“”‘’()[]{}<>*_`|~-—,;:…01é\u0301😀\n\t#&@$%/\\") for _ in range(9973)),
}


def measure(kind: str, size: int, options: PlanOptions) -> tuple[float, float, float]:
    """MB/s, the slowest call and the first call, both in milliseconds."""
    text = (KINDS[kind] * (size // len(KINDS[kind]) + 1))[:size]
    cursor, done, slowest, first, total = PlanCursor(), False, 0.0, 0.0, 0.0
    while not done:
        window = text[cursor.offset : cursor.offset + WINDOW]
        final = cursor.offset + WINDOW >= size
        began = time.process_time()
        batch = plan_batch(window, cursor, final, options)
        took = time.process_time() - began
        first, slowest, total = first or took, max(slowest, took), total + took
        cursor, done = batch.cursor, batch.done
    return size / total / 1e6, slowest * 1e3, first * 1e3


def main() -> None:
    """Print a line for each kind of text."""
    size = int(float(sys.argv[1] if len(sys.argv) > 1 else "0.2") * 1e6)
    options = PlanOptions(chunk_size=120, max_chars=500, language="en")
    base = 0.0
    print(f"{'kind':24}{'MB/s':>8}{'× prose':>9}{'slowest ms':>12}{'first ms':>10}")
    for kind in KINDS:
        speed, slowest, first = measure(kind, size, options)
        base = base or speed
        print(f"{kind:24}{speed:8.2f}{speed / base:9.2f}{slowest:12.1f}{first:10.1f}")


if __name__ == "__main__":
    main()
