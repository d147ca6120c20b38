"""Intervals, trend tests, and the record of a claim: what was predicted, measured and concluded.

A chapter states a Claim with its prediction before the run and judges it after. The verdict follows
from named tests alone. The chapter's stored output is the record: `page.records` reads it back.
"""

from .claims import MIME, NOT_SUPPORTED, NOT_TESTED, PARTLY, SUPPORTED, Claim, Verdict, verdict_of
from .intervals import (
    Interval,
    Trend,
    band,
    bootstrap,
    difference,
    effect_size,
    rising_trend,
    share,
    share_of,
    spearman,
)
