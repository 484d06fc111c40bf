"""One sheet for a reviewer to print, as HTML and as PDF: every claim, its verdict and its numbers;
on the back the rules, and how they changed.

Made from `figures/claims.csv`, its provenance and one figure alone, without a date: the same tables
give the same bytes.
"""

from __future__ import annotations

import base64
import json
from pathlib import Path
from typing import NamedTuple

import jinja2

from ..artifact import Run, read_table, written_aside
from ..scenarios import SHOWN
from .notes import on_networks
from .pdf import write_pdf
from .terms import BADGES, EVERY_RULE, NOTES, RULES, SOURCES, STATEMENTS, number

HERO = "tradeoff"
TEMPLATE = jinja2.Template(
    (Path(__file__).parent / "page.html.in").read_text(encoding="utf-8"),
    autoescape=True, trim_blocks=True, keep_trailing_newline=True, undefined=jinja2.StrictUndefined,
)  # fmt: skip


class Content(NamedTuple):
    """What the page says; HTML and PDF show all of it.

    rows: for each claim and metric judged, its rows of the claims table, one a scenario or one for
    all.
    """

    rows: list[list]
    networks: str
    notes: list[tuple[str, str]]
    provenance: str
    hero: Path
    title: str = (
        "Knowledge distillation for mobile edge computation offloading: the claims, checked"
    )
    about: str = (
        "An independent reproduction of H. Chen, L. Zeng, S. Yu, X. Chen, arXiv 2004.04366 (2020). "
        "Verdicts are computed from the tables, by the rules on the back. Intervals are 95 %; each "
        "row says what they cover. Regret is the share by which a decision's delay exceeds the "
        "optimum's."
    )
    caption: str = (
        "Mean regret against the time of a decision, every policy; lower left is better, the "
        "dotted line is the Pareto front."
    )
    heading: str = "claim, and what was measured"
    remember: str = "What a sceptical reader should know"
    rules: str = "The rules of the verdicts, and how they changed"
    heads: tuple = ("rule", "rule of the first version", "why it changed")
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
    shown = claims[(claims.verdict != "-") & claims.scenario.isin([*SHOWN, "all"])]
    groups = shown.groupby(["claim", "metric"], sort=False)
    notes = []
    for note, title in NOTES.items():
        said = claims[claims.claim == note].set_index("scenario").statement
        notes.append((title, " ".join(f"{name}: {said[name]}." for name in SHOWN if name in said)))
    networks = " ".join(on_networks(claims)).replace("`", "")
    rows = [list(part.itertuples()) for _, part in groups]
    return Content(rows, networks, notes, _provenance(run), hero)


def _provenance(run: Run) -> str:
    about = json.loads(run.found(run.figures / "claims.json").read_text())
    versions = ", ".join(f"{name} {version}" for name, version in about["versions"].items())
    return (
        f"claims.csv: code {about['code']}, profile {about['profile']}, seed {about['seed']}, "
        f"SHA-256 {about['sha256'][:16]}; Python {about['python']}, {versions}. Judged from "
        f"figures/{{{','.join(SOURCES)}}}.csv; every table has its own provenance beside it, as "
        f".json. Figure: figures/{HERO}.png."
    )


def page(run: Run) -> tuple[Path, Path]:
    """Write figures/claims.html and figures/claims.pdf, two pages of A4; returns their paths.

    The HTML refers to nothing outside itself. Raises ValueError as `content` does, and if the
    verdicts do not fit on one page.
    """
    told = content(run)
    html, pdf = run.figures / "claims.html", run.figures / "claims.pdf"
    image = base64.b64encode(told.hero.read_bytes()).decode()
    text = TEMPLATE.render(told=told, image=image, names=SHOWN, badges=BADGES, number=number)
    with written_aside(html) as aside:
        aside.write_text(text, encoding="utf-8")
    write_pdf(told, pdf)
    return html, pdf
