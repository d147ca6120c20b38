"""Claims: rules stated before a run, what the run answered, and the verdict that follows from that alone.

The chapter's stored output is the record of a claim: `page.records` reads it back, `page.cards` shows it.
"""

from .chances import chance_to_hold, holm, models_needed, p_value
from .claim import MIME, Claim, Verdict, verdict_of
from .rules import (
    CONDITION,
    NOT_SUPPORTED,
    NOT_TESTED,
    NULL,
    PARTLY,
    SCOPE,
    SUPPORTED,
    Answer,
    Reach,
    Rule,
    answer,
)
from .seeds import digest
