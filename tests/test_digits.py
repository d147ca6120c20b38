"""How many digits of an estimate its interval justifies."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from toylib.evidence import Interval, in_digits
from toylib.page import cards, notebook, records, strips

CASES = {
    (0.983, 0.911, 1.0): "0.98 [0.91, 1.00]",
    (0.968, 0.962, 0.974): "0.968 [0.962, 0.974]",
    (-0.0337, -0.302, 0.219): "0.0 [-0.3, 0.2]",
    (-0.001, -0.2, 0.1): "0.00 [-0.20, 0.10]",  # no negative zero
    (-0.357, -1.0, 0.307): "-0.4 [-1.0, 0.3]",
    (47.7, 45.3, 50.4): "48 [45, 50]",
    (1234.0, 1100.0, 1380.0): "1230 [1100, 1380]",
    (3.2e-5, 2.9e-5, 3.9e-5): "3.2e-05 [2.9e-05, 3.9e-05]",
    (2e7, 1e7, 3e7): "2.0e+07 [1.0e+07, 3.0e+07]",
    (1.0, 1.0, 1.0): "1 [1, 1]",  # without a width
    (0.12345, 0.0, math.inf): "0.123 [0, inf]",
}


@pytest.mark.parametrize(("values", "shown"), CASES.items(), ids=CASES.values())
def test_an_estimate_has_the_digits_that_its_interval_justifies(values, shown):
    assert str(Interval(*values)) == shown


@given(st.floats(-1e5, 1e5), st.floats(1e-6, 1e5), st.floats(0, 1))
def test_rounding_moves_no_number_by_more_than_a_tenth_of_the_width(low, width, share):
    high = low + width
    if high > low:
        values = (low + share * (high - low), low, high)
        for value, shown in zip(values, in_digits(*values), strict=True):
            assert abs(float(shown) - value) <= 0.1001 * (high - low) + 1e-9 * abs(value)


def test_whole_numbers_are_had_by_asking_for_no_decimals():
    assert in_digits(94.46, 92.3, 96.5, most=0) == ("94", "92", "96")  # halves go to the even neighbour


def test_cards_tables_strips_and_lists_round_alike():
    values, shown = (0.983, 0.911, 1.0), "0.98 [0.91, 1.00]"
    found = dict(zip(("estimate", "low", "high"), values, strict=True))
    assert cards._found({**found, "most": None, "held": True}) == shown
    assert f"<td>{shown}</td>" in notebook.table([[Interval(*values)]], ["found"]).data["text/html"]
    assert records.shown_estimate({**found, "n_models": 7}) == f"{shown}, 7 models"
    record = {"id": "a", "rules": [{"above": None, "below": None}], **found}
    assert f"in the book: {shown}<" in strips.strip(record, [strips.Run("b", *values, True)])
