"""Values that any file and any answer can hold: what a configuration or a page sends is checked before it is kept."""

import math
from datetime import date

_DEEPEST = 32
_MOST = 10_000


def require_plain(value: object) -> None:
    """Check text, numbers, lists and objects, without recursion and without following anchors for ever.

    Raises:
        ValueError: Text that is not Unicode (half a surrogate pair), a number that is not finite, another kind of
            value, more than 32 levels or 10,000 values.
    """
    seen = 0
    waiting = [(value, 0)]
    while waiting:
        one, depth = waiting.pop()
        seen += 1
        if seen > _MOST or depth > _DEEPEST:
            raise ValueError(f"must hold at most {_MOST:,} values, {_DEEPEST} levels deep")
        if isinstance(one, dict):
            waiting += [(part, depth + 1) for item in one.items() for part in item]
        elif isinstance(one, list | tuple):
            waiting += [(part, depth + 1) for part in one]
        elif isinstance(one, str):
            try:
                one.encode()
            except UnicodeEncodeError:
                raise ValueError("text must be valid Unicode, without lone surrogates") from None
        elif isinstance(one, float):
            if not math.isfinite(one):
                raise ValueError("numbers must be finite")
        elif not isinstance(one, int | date | None):
            raise ValueError(f"must be text, numbers, lists or objects, not {type(one).__name__}")
