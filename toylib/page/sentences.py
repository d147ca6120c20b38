"""What the front page says of each claim, in clauses: their words, and how a record's numbers come into them.

Which words a clause takes depends on the claim's verdict; a limit is told while the rule that sets it fails.
So a verdict that changes changes the sentence.
"""

from __future__ import annotations

import html
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from ..claims import NOT_SUPPORTED, NOT_TESTED, PARTLY, SUPPORTED
from ..evidence import in_digits

KINDS = {  # verdict -> how the page counts it, of one and of several
    SUPPORTED: ("holds", "hold"),
    PARTLY: ("holds within limits", "hold within limits"),
    NOT_SUPPORTED: ("does not", "do not"),
    NOT_TESTED: ("is not tested", "are not tested"),
}


def in_words(found: Mapping[str, Any]) -> dict[str, str]:
    """An estimate with its interval as a share, in percentage points, as a multiple and as a number."""
    if found.get("estimate") is None:
        return dict.fromkeys(("share", "points", "times", "value", "estimate"), "not measured")
    numbers = [found[name] for name in ("estimate", "low", "high")]
    whole, plain = in_digits(*(100 * number for number in numbers), most=0), in_digits(*numbers)
    wide = [
        f"\N{NO-BREAK SPACE}[{low},\N{NO-BREAK SPACE}{high}]" if low != high else ""
        for (_, low, high) in (whole, plain)
    ]
    return {
        "share": f"{whole[0]}%{wide[0]}",
        "points": f"{whole[0]} points{wide[0]}",
        "times": f"{plain[0]} times{wide[1]}",
        "value": f"{plain[0]}{wide[1]}",
        "estimate": plain[0],
    }


@dataclass(frozen=True)
class Clause:
    """What is said of one claim: if it holds, if it does not, and a limit for each rule that may set one."""

    id: str
    yes: str
    no: str
    limits: Mapping[str, str] = field(default_factory=dict)

    def said(self, claim: Mapping[str, Any]) -> str:
        """In words, linked to the chapter; {share}, {points}, {times}, {value} are filled in."""
        verdict = KINDS[claim["verdict"]][0].replace("does not", "does not hold")
        if claim["verdict"] == NOT_TESTED:
            lead, numbered, _ = self.yes.partition(": ")
            lead = lead + numbered if numbered and lead.startswith("claim ") else "the claim "
            text = f"{lead}that {claim['statement'][0].lower()}{claim['statement'][1:-1]}"
        else:
            holds = claim["verdict"] in (SUPPORTED, PARTLY)
            n = claim["n_models"]
            who = "one network" if n == 1 else f"{n:,} models"
            facts = in_words(claim) | {"measure": claim["measure"], "who": who, "n": n}
            text = (self.yes if holds else self.no).format(**facts)
            rules = {rule["name"]: rule for rule in claim["rules"] if not (rule["held"] or rule["void"])}
            told = [
                words.format(**in_words(rules[name])) for name, words in self.limits.items() if name in rules
            ]
            text += f", {' and '.join(told)}" if told and holds else ""
            first = claim["rules"][0]
            if not holds and not (first["held"] or first["reverse"]):
                verdict = "undecided"
        return f'{html.escape(text)} (<a href="{claim["chapter"]}.html">{verdict}</a>)'


@dataclass(frozen=True)
class Sentence:
    """A question, the short answers to it, and the clauses.

    short: the answers if the claims of `by` all hold, hold within limits or in part, or do not hold. real:
    whether it is about real networks.
    """

    question: str
    short: tuple[str, str, str]
    clauses: tuple[Clause, ...]
    by: tuple[str, ...] = ()
    real: bool = False


SENTENCES = (
    Sentence(
        "Do the toys superpose?",
        ("Yes.", "Yes, within limits.", "No."),
        (
            Clause(
                "models",
                "{share} of models trained on sparse features hold more features than dimensions, which is "
                "superposition",
                "only {share} of models trained on sparse features hold more features than dimensions, which "
                "is superposition",
            ),
            Clause(
                "claim-1",
                "claim 1: polysemantic neurons, of several features each, form in a layer of ReLUs, where "
                "their share rises by {points} as features become sparse",
                "claim 1: polysemantic neurons, of several features each, do not form in a layer of ReLUs as "
                "claimed; their share changes by {points}",
                {
                    "a neuron for each feature: its rise": "and by {points} even where each feature could "
                    "have a neuron of its own"
                },
            ),
            Clause(
                "claim-2",
                "claim 2: clean neurons, of one feature, stand beside them in {share} of the best layers at "
                "a middle density",
                "claim 2: clean neurons, of one feature, stand beside them in only {share} of the best "
                "layers at a middle density",
            ),
        ),
    ),
    Sentence(
        "Does sparsity drive it?",
        ("Yes.", "Yes, save in copying features that matter equally.", "No."),
        (
            Clause(
                "sparsity",
                "from dense features to sparse ones the polysemantic share of a layer rises by {points}",
                "from dense features to sparse ones the polysemantic share of a layer changes by {points}",
                {
                    "the difference, equal importance": "but by {points} where features that matter equally "
                    "are copied"
                },
            ),
            Clause(
                "knob-strongest",
                "of the dials of size and training it moves the share most, by {points} more than the next",
                "of the dials of size and training it is not shown to move the share most ({points} more "
                "than the next)",
                {
                    "its lead in each task alone": "though not in each task",
                    "density's span less that of the task": "less than the task itself does",
                },
            ),
        ),
        by=("sparsity",),
    ),
    Sentence(
        "Is a shared neuron superposition?",
        ("Not by itself.", "Not by itself.", "It may be."),
        (
            Clause(
                "sharing-with-room",
                "a layer that copies shares {share} of its neurons though there is one for every feature",
                "a layer that copies, with a neuron for every feature, shares only {share} of them",
            ),
            Clause(
                "sharing-compute",
                "in a layer that must compute, room for all brings the share down by {points}",
                "in a layer that must compute, room for all changes the share by only {points}",
            ),
            Clause(
                "sharing-needed",
                "what must be shared, since no cleaner layer loses as little, rises with sparsity by "
                "{points}",
                "what must be shared, since no cleaner layer loses as little, does not rise as claimed "
                "({points})",
            ),
        ),
        by=("sharing-with-room",),
    ),
    Sentence(
        "In real networks?",
        ("Yes, where it can be looked for.", "In part.", "Not shown here."),
        (
            Clause(
                "packed-real",
                "language models have many token vectors to a dimension, and pack them nearly as evenly as "
                "can be: they overlap at most {times} as much as random vectors",
                "language models have many token vectors to a dimension, but do not pack them evenly, as "
                "toys do: in one of {n} they overlap {times} as much as random vectors",
            ),
            Clause(
                "room-real",
                "image classifiers, which have a dimension for each class, keep the classes' vectors apart "
                "({times} the overlap of random ones)",
                "image classifiers, which have a dimension for each class, do not keep the classes' vectors "
                "apart ({times} the overlap of random ones)",
            ),
            Clause(
                "claim-3-real",
                "claim 3: deeper layers are more polysemantic ({measure}: {value}, {who})",
                "claim 3: deeper layers are not shown to be more polysemantic ({measure}: {value}, {who})",
            ),
            Clause(
                "claim-4-real",
                "claim 4: neurons of a transformer's first MLP are more polysemantic than those of later "
                "layers in the mean ({measure}: {value}, {who})",
                "claim 4: neurons of a transformer's first MLP are not shown to be more polysemantic than "
                "those of later layers ({measure}: {value}, {who})",
                {
                    "rank of layer 0, by each of four measures": "but theirs is not the most polysemantic "
                    "layer: by one of four measures its rank is {estimate}"
                },
            ),
        ),
        by=("packed-real", "room-real"),
        real=True,
    ),
    Sentence(
        "And the toys' other habits?",
        ("They hold, in toys.", "They hold in part, in toys.", "They do not hold."),
        (
            Clause(
                "adversarial",
                "vulnerability to attacks goes with superposition, at most {times} that of dense features",
                "vulnerability to attacks does not go with superposition as claimed ({times})",
                {"its rank correlation with 1/D*, 100 in 20": "but not in the smaller model"},
            ),
            Clause(
                "geometry",
                "features gather at regular shapes, {share} of them",
                "features do not gather at regular shapes as predicted: {share} of them do",
            ),
            Clause(
                "dynamics",
                "features jump when the loss drops, {points} more often than by chance",
                "features do not jump when the loss drops more often than by chance ({points})",
                {"20 features, m = 5, beyond all three": "but not in the largest model"},
            ),
        ),
    ),
)  # fmt: skip
