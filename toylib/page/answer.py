"""The front page's answer: how many claims hold, and five sentences that the chapters' records compute.

A claim that a sentence needs and no chapter records stops the page with its name.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from fnmatch import fnmatch
from typing import Any

from ..checks import refuse
from ..claims import NOT_TESTED, PARTLY, SUPPORTED
from .sentences import KINDS, SENTENCES, Sentence

# ids; all other claims are about toys
OF_REAL_NETWORKS = ("*-real", "claim-3-labels", "claim-3-premise", "lexical-*")


def is_real(claim: Mapping[str, Any]) -> bool:
    """Whether a claim is about real networks, by its id."""
    return any(fnmatch(claim["id"], pattern) for pattern in OF_REAL_NETWORKS)


def tally(claims: Sequence[Mapping[str, Any]]) -> dict[str, int]:
    """How many claims have each verdict that occurs, the best first."""
    counts = Counter(claim["verdict"] for claim in claims)
    return {verdict: counts[verdict] for verdict in KINDS if counts[verdict]}


def _outcomes(claims: Sequence[Mapping[str, Any]]) -> str:
    return ", ".join(f"{n} {KINDS[verdict][n != 1]}" for verdict, n in tally(claims).items())


def counted(claims: Sequence[Mapping[str, Any]]) -> str:
    """`28 claims: 6 hold, 16 hold within limits, 6 do not`."""
    return f"{len(claims)} claim{'' if len(claims) == 1 else 's'}: {_outcomes(claims)}"


def in_short(claims: Sequence[Mapping[str, Any]]) -> str:
    """The answer to the book's question in a sentence: how claims about real networks fared, and about toys.

    Raises: ValueError as for `sentences`.
    """
    sides = [[claim for claim in claims if is_real(claim) == real] for real in (True, False)]
    (lead,) = (_lead(sentence, claims) for sentence in SENTENCES if sentence.real)
    (n_real, of_real), (n_toys, of_toys) = ((len(side), _outcomes(side)) for side in sides)
    return f"{lead} Of {n_real} claims about real networks {of_real}; of {n_toys} about toys {of_toys}."


def _short(sentence: Sentence, verdicts: Sequence[str]) -> str:
    good, middle, bad = sentence.short
    if all(verdict == NOT_TESTED for verdict in verdicts):
        return "Not tested."
    if all(verdict == SUPPORTED for verdict in verdicts):
        return good
    return middle if {SUPPORTED, PARTLY} & set(verdicts) else bad


def _lead(sentence: Sentence, claims: Sequence[Mapping[str, Any]]) -> str:
    """The short answer.

    Raises: ValueError if a sentence needs a claim that no chapter records.
    """
    verdicts = {claim["id"]: claim["verdict"] for claim in claims}
    needed = [clause.id for clause in sentence.clauses]
    if missing := [name for name in needed if name not in verdicts]:
        refuse(
            f"claims must have those of the sentence {sentence.question!r}; missing {missing}",
            sorted(verdicts),
        )
    return _short(sentence, [verdicts[name] for name in sentence.by or needed])


def sentences(claims: Sequence[Mapping[str, Any]]) -> list[str]:
    """The five, as HTML.

    Raises: ValueError if a sentence needs a claim that no chapter records.
    """
    by_id = {claim["id"]: claim for claim in claims}
    found = []
    for sentence in SENTENCES:
        lead = f"<b>{sentence.question} {_lead(sentence, claims)}</b>"
        text = "; ".join(clause.said(by_id[clause.id]) for clause in sentence.clauses)
        found.append(f"{lead} {text[0].upper()}{text[1:]}.")
    return found
