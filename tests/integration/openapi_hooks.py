"""Loaded by schemathesis (``SCHEMATHESIS_HOOKS``): half of the valid requests are about things that there are, not about ids made up."""

import json
import os
import random
from typing import Any

import schemathesis
from schemathesis import Case, GenerationMode, HookContext

KNOWN: dict[str, list[str]] = json.loads(os.environ["RHAPSODE_KNOWN_IDS"])
"""By name; the last job is one that is still being spoken."""
_LISTENING = ("/tts/{job_id}/audio", "/tts/{job_id}/events")
"""Answers that last as long as their job."""
_CHOOSE = random.Random(1)


@schemathesis.hook
def before_call(context: HookContext, case: Case[Any], kwargs: dict[str, object]) -> None:
    """Put ids in place that exist."""
    del context, kwargs
    mode = case.meta.generation.mode if case.meta else None
    if mode is not GenerationMode.POSITIVE or _CHOOSE.random() < 0.5:
        return
    for name in set(KNOWN) & set(case.path_parameters or ()):
        known = KNOWN[name][: -1 if case.operation.path in _LISTENING else None]
        case.path_parameters[name] = _CHOOSE.choice(known)
