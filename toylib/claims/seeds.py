"""What a claim asks, as one text; its hash; and the seeds that follow from the hash.

Nobody can shop for seeds whose claim decides them, and a claim that is changed is a new experiment.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from typing import Any

from .rules import Rule

# Divisible by all numbers of models that share a stream of inputs (1 to 4, 6, 8, .. 64, .. 1024), so that
# the first seed of a claim is the first of its stream.
ALIGNED = 3 * 2**10
FIRST = 32 * ALIGNED  # below are the seeds of pilots, tests and exercises
_PLACES = 2**19  # so that seeds, and those of held-out inputs 2**31 above, fit into the 32 bits torch reads


def asked(id: str, statement: str, setting: str, rules: Sequence[Rule]) -> dict[str, Any]:
    """What a claim asks, as the register keeps it."""
    each = [
        {"words": rule.words, "kind": rule.kind, "better": rule.better, "wrong": rule.wrong} for rule in rules
    ]
    kept = [{name: value for name, value in rule.items() if value is not None} for rule in each]
    return {"id": id, "statement": statement, "setting": setting, "rules": kept}


def digest(asked: dict[str, Any]) -> str:
    """16 hexadecimal digits of what a claim asks."""
    return hashlib.sha256(json.dumps(asked, sort_keys=True).encode()).hexdigest()[:16]


def first_seed(digest: str) -> int:
    """The first of a claim's seeds: a multiple of ALIGNED, from FIRST to below 2**31."""
    return FIRST + ALIGNED * (int(digest, 16) % _PLACES)


def held_out_seed(digest: str) -> int:
    """The first seed of its held-out inputs: from 2**31 on, below 2**32."""
    return 2**31 + FIRST + ALIGNED * (int(digest, 16) // _PLACES % _PLACES)
