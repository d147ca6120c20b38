"""Intervals and trend tests over seeds."""

from .digits import in_digits, with_interval
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
from .streams import Streams
