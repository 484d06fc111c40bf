"""The claims on two sheets to print, as HTML and as PDF: a row a claim and scenario, with our
extension beside the paper's student, what a sceptical reader asks, and the rules.

Made from `figures/claims.csv`, its provenance and one figure alone, without a date: the same tables
give the same bytes.
"""

from __future__ import annotations

import base64
import json
from pathlib import Path
from typing import NamedTuple

import jinja2
import pandas as pd

from experiments.run import Run, read_table, written_aside
from experiments.scenarios import SHOWN
from experiments.claims.pdf import write_pdf
from experiments.claims.terms import (
    BADGES,
    EVERY_RULE,
    NOTES,
    RULES,
    SOURCES,
    STATEMENTS,
    measure,
    number,
)

HERO, ANY = "tradeoff", "anygraph"
TEMPLATE = jinja2.Template(
    (Path(__file__).parent / "page.html.in").read_text(encoding="utf-8"),
    autoescape=True, trim_blocks=True, keep_trailing_newline=True, undefined=jinja2.StrictUndefined,
)  # fmt: skip


class Content(NamedTuple):
    """What the page says; HTML and PDF show all of it.

    groups: (claim, statement, what was measured, lines of scenario, student's row, extension's).
    """

    groups: list[tuple]
    networks: list[str]
    notes: list[tuple[str, list[str]]]
    provenance: str
    hero: Path
    title: str = (
        "Knowledge distillation for mobile edge computation offloading: the claims, checked"
    )
    about: str = (
        "An independent test of H. Chen, L. Zeng, S. Yu, X. Chen, arXiv 2004.04366 (2020). We had "
        "only the abstract: delay model, task graphs and baselines are ours, and verdicts hold for "
        "these. Every verdict is computed from the saved tables by the rules at the end. Brackets "
        "are 95 % intervals. Regret is the extra delay of a decision, in percent of the optimum's. "
        "chain and dag have 10 subtasks, fusion has 20. In grey: the abstract's own sentence, and "
        "what we measured."
    )
    caption: str = (
        "Mean regret against the median time of a decision, of every policy in a compiled loop or "
        "else in its quickest runtime. Lower left is better. Dotted: the least regret within a "
        "time. Pale: up to the 99th percentile of the time."
    )
    heads: tuple = ("", "the paper's student", "our extension, anygraph")
    remember: str = "What a sceptical reader asks"
    rules: str = "The rules of the verdicts, and how they changed"
    rule_heads: tuple = ("rule", "first version", "why it changed")
    log: tuple = (*RULES.items(), ("All", EVERY_RULE))


def content(run: Run) -> Content:
    """The page's content from a run's saved tables.

    Raises ValueError naming a table, a claim or the figure that is missing.
    """
    claims, hero = read_table(run, "claims"), run.found(run.figures / f"{HERO}.png")
    if not hero.exists():
        raise ValueError(f"figure: {hero.name} is missing; the notebook of decision times makes it")
    if missing := [c for c in STATEMENTS if c not in claims.claim[claims.verdict != "-"].values]:
        raise ValueError(
            f"table: claims.csv has no verdict on {missing[0]}; delete it and make it again"
        )
    notes = []
    for note, title in NOTES.items():
        said = claims[claims.claim == note].set_index("scenario").statement
        notes.append((title, [f"{name}: {said[name]}." for name in SHOWN if name in said]))
    return Content(_groups(claims), on_networks(claims), notes, _provenance(run), hero)


def _groups(claims: pd.DataFrame) -> list[tuple]:
    ours = claims.metric.str.startswith(ANY)
    judged = claims[(claims.verdict != "-") & ~ours & claims.scenario.isin([*SHOWN, "all"])]
    beside = {(r.claim, r.scenario, r.metric): r for r in claims[ours].itertuples()}
    groups, told = [], set()
    for (claim, metric), part in judged.groupby(["claim", "metric"], sort=False):
        over = part.interval.iloc[0]
        what = measure(metric).removeprefix("student: ")
        what += f"; intervals over {over}" if isinstance(over, str) else ""
        theirs = metric.replace("student", ANY, 1) if metric.startswith("student: ") else None
        lines = [(r.scenario, r, beside.get((claim, r.scenario, theirs)))
                 for r in part.itertuples()]  # fmt: skip
        groups.append((claim, "" if claim in told else STATEMENTS[claim], what, lines))
        told.add(claim)
    return groups


def on_networks(claims: pd.DataFrame) -> list[str]:
    """How many verdicts of each kind on the real networks: a sentence for each student judged."""
    rows = claims[claims.scenario.str.startswith("networks") & (claims.verdict != "-")]
    sentences = []
    for extension, part in rows.groupby(rows.metric.str.startswith(ANY)):
        counts = part.groupby("claim").verdict.apply(
            lambda verdicts: ", ".join(f"{v} on {n}" for v, n in verdicts.value_counts().items())
        )
        told = "; ".join(f"{claim}: {text}" for claim, text in counts.items())
        whose = ANY if extension else "the paper's student"
        sentences.append(f"On {rows.scenario.nunique()} real networks, {whose}: {told}.")
    return sentences


def _provenance(run: Run) -> str:
    about = json.loads(run.found(run.figures / "claims.json").read_text())
    versions = ", ".join(f"{name} {version}" for name, version in about["versions"].items())
    return (
        f"claims.csv: code {about['code']}, profile {about['profile']}, seed {about['seed']}, "
        f"SHA-256 {about['sha256'][:16]}; Python {about['python']}, {versions}. Judged from "
        f"figures/{{{','.join(SOURCES)}}}.csv; each has its provenance beside it, as .json. "
        f"Figure: figures/{HERO}.png."
    )


def page(run: Run) -> tuple[Path, Path]:
    """Write figures/claims.html and figures/claims.pdf, two pages of A4; returns their paths.

    The HTML refers to nothing outside itself. Raises ValueError as `content` does, and if the
    text does not fit.
    """
    told = content(run)
    html, pdf = run.figures / "claims.html", run.figures / "claims.pdf"
    image = base64.b64encode(told.hero.read_bytes()).decode()
    text = TEMPLATE.render(told=told, image=image, badges=BADGES, number=number)
    with written_aside(html) as aside:
        aside.write_text(text, encoding="utf-8")
    write_pdf(told, pdf)
    return html, pdf
