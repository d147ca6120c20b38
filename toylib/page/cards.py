"""Claims to look at: the rules before the run, and what became of each after it."""

from __future__ import annotations

import html
from collections.abc import Iterable, Mapping
from typing import Any

from ..claims import (
    CONDITION,
    MIME,
    NOT_SUPPORTED,
    NOT_TESTED,
    NULL,
    PARTLY,
    SUPPORTED,
    Claim,
    Rule,
    Verdict,
    chance_to_hold,
)
from ..claims.worlds import BEYOND, BOUND, FALSE_ALARMS, FEWEST, MEASURED, MOST, NOTHING, POWER, WORLDS
from ..evidence import Interval, with_interval
from . import rerun
from .data import here
from .strips import runs_of, strip

KINDS = {"scope": "", NULL: "null", CONDITION: "condition"}


def _number(value: float) -> str:
    return f"{value:.3g}"


def _found(rule: Mapping[str, Any]) -> str:
    """What was found, with its interval if it has a width, and a null's headroom."""
    if rule.get("low") is None:
        return "yes" if rule["held"] else "no"
    estimate, low, high = (rule[name] for name in ("estimate", "low", "high"))
    wide = high - low > 1e-9 * max(abs(low), abs(high))  # more than rounding
    text = with_interval(estimate, low, high) if wide else _number(estimate)
    return text if rule["most"] is None else f"{text}, of {_number(rule['most'])} that it could"


def _mark(rule: Mapping[str, Any]) -> str:
    if rule["void"]:
        return "could not have failed: no test"
    if rule["held"]:
        return "&#10003; holds"
    return "&#10007; fails" + ("" if rule["reverse"] or rule["low"] is None else " (undecided)")


def of_rule(record: Mapping[str, Any]) -> tuple[Rule, Interval] | None:
    """A rule of a record, and what was found for it; None for a statement, or before the run."""
    if record.get("low") is None:
        return None
    bounds = {name: record[name] for name in ("name", "above", "below")}
    return Rule(**bounds), Interval(record["estimate"], record["low"], record["high"])


def _chances(record: Mapping[str, Any]) -> list[tuple[str, str]]:
    """How often the claim's own rule would hold in another run like this one."""
    first = of_rule(record["rules"][0])
    if first is None:
        return []
    rule, found = first
    bound = rule.below if rule.above is None else rule.above
    worlds = {"the truth is as measured": found.estimate, "it lies at the bound": bound}
    if rule.below is None and bound and bound > 0:
        worlds["there is nothing"] = 0.0
    chances = {world: chance_to_hold(rule, found, float(truth or 0)) for world, truth in worlds.items()}
    told = "; ".join(f"{chance:.0%} if {world}" for world, chance in chances.items())
    weak = " Too few models for 80%." if 0.025 < chances["the truth is as measured"] < 0.8 else ""
    return [("Another run would pass the claim's own rule", f"{told}.{weak}")]


def weak(chances: Mapping[str, float], margin: str) -> str:
    """What a rule cannot do, in words."""
    said = ["fewer than sixteen streams"] if chances["streams"] < FEWEST else []
    said += ["more than 5% false alarms"] if chances[BOUND] > FALSE_ALARMS else []
    said += [f"less than 80% power at {margin} beyond"] if chances[BEYOND] < POWER else []
    return "; ".join(said)


def mend(chances: Mapping[str, Any]) -> str:
    """How many streams would make a weak rule able, in words; empty if it is."""
    if "needed" not in chances:
        return ""
    needed = chances["needed"]
    return f"{needed:,} streams" if needed else f"not with {MOST} times as many"


def _operating(record: Mapping[str, Any]) -> str:
    """How often the verdict and each rule err in simulated runs; where a rule is weak, in words."""
    found = record.get("operating")
    if not found:
        return ""
    margin, asked = _number(found["margin"]), [rule["name"] for rule in record["rules"]]
    worlds = {NOTHING: NOTHING, BOUND: "every quantity lies at its bound", MEASURED: "all is as measured"}
    worlds[BEYOND] = f"every quantity lies {margin} beyond its bound (of bounds over 1, that share)"
    across = SUPPORTED, PARTLY, NOT_SUPPORTED  # what is read from a notebook comes in the alphabet's order
    lines = [
        [f"if {worlds[world]}", *(f"{found['verdicts'][world][said]:.1%}" for said in across)]
        for world in WORLDS
        if world in found["verdicts"]
    ]
    verdicts = html_table(
        lines, ("the verdict", *across), caption="How often each verdict comes, by what is true"
    )
    lines = [
        [html.escape(name), str(chances["streams"])]
        + [f"{chances[world]:.1%}" for world in (BOUND, BEYOND, MEASURED)]
        + [weak(chances, margin), mend(chances)]
        for name, chances in sorted(found["rules"].items(), key=lambda rule: asked.index(rule[0]))
    ]
    header = ("a rule that holds", "streams", "at its bound", f"{margin} beyond", "as measured")
    others = found.get("not simulated", {})
    told = "; ".join(f"{html.escape(name)} ({why})" for name, why in others.items())
    left = f"<p>Not simulated, and taken as found: {told}.</p>" if told else ""
    title = f"How often it errs, in {found['n']:,} simulated runs"
    told_of_rules = "How often each rule holds, by what is true, and what would mend a weak one"
    table = html_table(lines, (*header, "weakness", "able with"), caption=told_of_rules)
    return f"<details><summary>{title}</summary>{verdicts}{table}{left}</details>"


def html_table(
    lines: Iterable[Iterable[str]],
    header: Iterable[str],
    kind: str = "",
    *,
    name: str = "",
    caption: str = "",
) -> str:
    """Wide tables scroll inside their own box: the page stays as wide as a phone.

    name: what the table is, for those who hear the page; where it has a caption to see, none is needed.
    """
    named = f' aria-label="{html.escape(name)}"' if name else ""
    said = f"<caption><span>{html.escape(caption)}</span></caption>" if caption else ""
    head = "".join(f"<th>{name}</th>" for name in header)
    body = "".join("<tr>" + "".join(f"<td>{entry}</td>" for entry in line) + "</tr>" for line in lines)
    return (
        f'<div style="overflow-x:auto"><table class="docutils {kind}"{named}>{said}'
        f"<thead><tr>{head}</tr></thead><tbody>{body}</tbody></table></div>"
    )


def _named(rule: Mapping[str, Any], first: bool) -> str:
    kind = "claim" if first else KINDS[rule["kind"]]
    return html.escape(rule["name"]) + (f" <small>({kind})</small>" if kind else "")


def _asked(rule: Mapping[str, Any]) -> str:
    return html.escape(rule["words"][len(rule["name"]) :].lstrip(": ")) or "so"


def prediction(record: Mapping[str, Any]) -> str:
    """A claim before its run: statement, what is run, and every rule with its bounds."""
    lines = [[_named(rule, k == 0), _asked(rule)] for k, rule in enumerate(record["rules"])]
    rules = html_table(lines, ("Prediction", "must be"), name=f"Prediction of {record['id']}")
    return (
        f'<div class="claim"><p><b>Claim ({html.escape(record["id"])}).</b> '
        f"{html.escape(record['statement'])}</p><p>{html.escape(record['prediction'])}</p>{rules}</div>"
    )


def verdict(record: Mapping[str, Any], again: Mapping[str, Any] | None = None) -> str:
    """A claim after its run: verdict, why, and what was found for every rule; further numbers folded.

    Where the claim's core can be run in a page, the site has a button there.

    again: what book/data/again.json holds, from which the strip of other runs is drawn.
    """
    head = f"<b>{html.escape(record['id'])}: {record['verdict']}</b>"
    why = f" &mdash; {html.escape(record['why'])}." if record["why"] else ""
    parts = [f"<p>{head}{why}</p>", f"<p>{html.escape(record['statement'])}</p>"]
    if record["verdict"] != NOT_TESTED:
        lines = [
            [_named(rule, k == 0), _asked(rule), _found(rule), f"<b>{_mark(rule)}</b>"]
            for k, rule in enumerate(record["rules"])
        ]
        parts.append(html_table(lines, ("Rule", "must be", "found", ""), name=f"Rules of {record['id']}"))
        estimate = with_interval(*(record[name] for name in ("estimate", "low", "high")))
        further = [("Measured", f"{html.escape(record['measure'])}: <b>{estimate}</b>")]
        further.append(("Models", f"{record['n_models']:,}"))
        further += [] if record.get("operating") else _chances(record)
        numbers = {"Going on with training": record["settled"], "": record["controls"]}
        for title, values in numbers.items():
            for name, value in values.items():
                shown = html.escape(value) if isinstance(value, str) else _number(value)
                further.append((f"{title}{': ' if title else ''}{html.escape(name)}", shown))
        parts += [rerun.button(record), strip(record, runs_of(record, again)), _operating(record)]
        table = html_table(further, ("number", "found"), caption=f"What else was found for {record['id']}")
        parts.append(f"<details><summary>Further numbers</summary>{table}</details>")
    return f'<div class="claim claim-{record["verdict"].replace(" ", "-")}">{"".join(parts)}</div>'


def register_with(shell: Any) -> None:
    """Make a notebook show claims and verdicts as cards."""
    shown = shell.display_formatter.formatters["text/html"]
    shown.for_type(Claim, lambda claim: prediction(claim._repr_mimebundle_()[MIME]))
    shown.for_type(Verdict, lambda claim: verdict(claim._repr_mimebundle_()[MIME], here("again.json")))
