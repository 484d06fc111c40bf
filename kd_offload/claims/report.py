"""One page for a reviewer to print: every claim, its verdict and its numbers, as HTML and as PDF.

Made from `figures/claims.csv`, its provenance and one figure alone, without a date: the same tables give the same bytes.
"""

from __future__ import annotations

import base64
import json
import re
from functools import cache
from html import escape
from pathlib import Path
from typing import NamedTuple

import matplotlib
import matplotlib.pyplot as plt
import pandas as pd
from matplotlib.font_manager import FontProperties
from matplotlib.patches import Rectangle
from matplotlib.textpath import text_to_path

from ..artifact import Run, read_table, written_aside
from ..claims.claims import NOTES, STATEMENTS
from ..scenarios import SHOWN

TITLE = "Knowledge distillation for mobile edge computation offloading: the claims, checked"
ABOUT = (
    "An independent reproduction of H. Chen, L. Zeng, S. Yu, X. Chen, arXiv 2004.04366 (2020). Verdicts are computed from the "
    "tables; intervals are 95 %, by a paired bootstrap over test tasks and training seeds, and those behind C4 and C5 hold "
    "for all rivals together. Regret is the share by which a decision's delay exceeds the optimum's."
)
HERO = "tradeoff"
CAPTION = "Mean regret against the time of a decision, every policy; lower left is better, the dotted line is the Pareto front."
SOURCES = (
    "latency",
    "paired",
    "following",
    "wrong_labels",
    "inference_time",
    "label_generation",
    "proofs",
)
# verdict -> mark, ink, paper: told apart in black and white by the mark
BADGES = {
    "reproduced": ("\u2713", "#00563F", "#D5F0E6"),
    "partly": ("\u223c", "#6B4A00", "#FBE9C4"),
    "not reproduced": ("\u2717", "#8A2F00", "#FADCCB"),
}


class Cell(NamedTuple):
    """One verdict: `verdict` of BADGES, the number with its interval, and what it is compared with."""

    verdict: str
    number: str
    about: str


class Row(NamedTuple):
    """One claim, or one judged a second time for an extension: a cell a scenario, one for all where there are none."""

    claim: str
    statement: str
    metric: str
    cells: tuple[Cell, ...]


class Content(NamedTuple):
    """What the page says; both forms show all of it."""

    rows: list[Row]
    networks: str
    notes: list[tuple[str, str]]
    provenance: str


def content(run: Run) -> Content:
    """The page's content from a run's saved tables; ValueError naming what is missing."""
    claims = read_table(run, "claims")
    about = json.loads((run.figures / "claims.json").read_text())
    judged = claims[claims.verdict != "-"]
    rows = []
    for (claim, metric), part in judged.groupby(["claim", "metric"], sort=False):
        part = part.set_index("scenario")
        names = [s for s in (*SHOWN, "all") if s in part.index]
        cells = tuple(
            Cell(r.verdict, _number(r), r.reference) for r in part.loc[names].itertuples()
        )
        if cells:
            rows.append(Row(claim, STATEMENTS[claim], metric, cells))
    if missing := [claim for claim in STATEMENTS if claim not in {row.claim for row in rows}]:
        raise ValueError(
            f"table: claims.csv has no verdict on {missing[0]}; delete it and make it again"
        )
    networks, counts = judged[judged.scenario.str.startswith("networks")], []
    for (claim, metric), part in networks.groupby(["claim", "metric"], sort=False):
        whose = " (student_verified)" if metric.startswith("student_verified") else ""
        counts.append(
            f"{claim}{whose} "
            + ", ".join(f"{n} {v}" for v, n in part.verdict.value_counts().items())
        )
    text = (
        f"On the {networks.scenario.nunique()} real networks: {'; '.join(counts)}."
        if counts
        else ""
    )
    said = []
    for note, title in NOTES.items():
        part = claims[claims.claim == note].set_index("scenario").statement
        said.append((title, " ".join(f"{name}: {part[name]}." for name in SHOWN if name in part)))
    versions = ", ".join(f"{name} {number}" for name, number in about["versions"].items())
    changed = " (code changed since)" if about.get("code_changed_since_commit") else ""
    provenance = (
        f"claims.csv: commit {about['commit'] or 'unknown'}{changed}, profile {about['profile']}, seed {about['seed']}, "
        f"SHA-256 {about['sha256'][:16]}; Python {about['python']}, {versions}. Judged from figures/{{{','.join(SOURCES)}}}.csv; "
        f"every table has its own provenance beside it, as .json. Figure: figures/{HERO}.png."
    )
    return Content(rows, text, said, provenance)


def _number(row) -> str:
    """A value and its interval, three digits each."""
    if pd.isna(row.ci_low):
        return f"{row.value:.3g}"
    return f"{row.value:.3g} [{row.ci_low:.3g}, {row.ci_high:.3g}]"


def page(run: Run) -> tuple[Path, Path]:
    """Write figures/claims.html and figures/claims.pdf, one A4 page each; returns their paths.

    Raises ValueError naming a table or figure that is missing, or if the content does not fit on the page.
    """
    told, hero = content(run), run.figures / f"{HERO}.png"
    if not hero.exists():
        raise ValueError(f"figure: {hero.name} is missing; notebook 06 makes it")
    html, pdf = run.figures / "claims.html", run.figures / "claims.pdf"
    with written_aside(html) as aside:
        aside.write_text(as_html(told, hero.read_bytes()), encoding="utf-8")
    figure = as_figure(told, plt.imread(hero))
    try:
        about = {"Title": TITLE, "Keywords": told.provenance, "CreationDate": None, "ModDate": None}
        with (
            matplotlib.rc_context({"savefig.bbox": None, "pdf.fonttype": 42}),
            written_aside(pdf) as aside,
        ):
            figure.savefig(aside, format="pdf", metadata=about)
    finally:
        plt.close(figure)
    return html, pdf


CSS = """
@page { size: A4; margin: 10mm }
* { box-sizing: border-box }
body { font: 8.2pt/1.32 system-ui, "DejaVu Sans", Arial, sans-serif; color: #1A1A1A; max-width: 190mm; margin: 0 auto;
  -webkit-print-color-adjust: exact; print-color-adjust: exact }
h1 { font-size: 13pt; margin: 0 0 1mm } h2 { font-size: 9pt; margin: 2mm 0 .5mm }
p { margin: 0 0 1.5mm } .small { font-size: 6.6pt; color: #444 }
figure { margin: 0 0 1.5mm } img { width: 100% } figcaption { font-size: 6.6pt; color: #444 }
table { border-collapse: collapse; width: 100%; table-layout: fixed }
th, td { text-align: left; vertical-align: top; padding: .7mm 1.2mm; border-top: .2mm solid #BBB; overflow-wrap: anywhere }
th { font-weight: 600 } thead th { border-top: 0 } col.claim { width: 34% } tr { break-inside: avoid }
td .metric, td .about { display: block; font-size: 6.4pt; line-height: 1.22; color: #444 }
.badge { display: inline-block; font-weight: 700; font-size: 7pt; padding: 0 1.2mm; border-radius: 1mm; border: .2mm solid }
ul { margin: 0; padding-left: 3.5mm } li { font-size: 7pt; line-height: 1.28 }
""".strip()


def as_html(told: Content, hero: bytes) -> str:
    """The page as one HTML document that refers to nothing outside itself; hero: a PNG's bytes."""
    styles = "\n".join(
        f".{_style(verdict)} {{ color: {ink}; background: {paper}; border-color: {ink} }}"
        for verdict, (_, ink, paper) in BADGES.items()
    )
    body = []
    for row in told.rows:
        cells = []
        for cell in row.cells:
            mark = BADGES[cell.verdict][0]
            badge = (
                f'<span class="badge {_style(cell.verdict)}">{mark} {escape(cell.verdict)}</span>'
            )
            about = f'<span class="about">{escape(cell.about)}</span>'
            span = f' colspan="{len(SHOWN)}"' if len(row.cells) == 1 else ""
            cells.append(f"<td{span}>{badge} {escape(cell.number)}{about}</td>")
        head = f'<b>{row.claim}</b> {escape(row.statement)}<span class="metric">{escape(row.metric)}</span>'
        body.append(f"<tr><td>{head}</td>{''.join(cells)}</tr>")
    heads = "".join(f"<th>{escape(name)}</th>" for name in SHOWN)
    notes = "".join(
        f"<li><b>{escape(title)}.</b> {escape(text)}</li>" for title, text in told.notes
    )
    image = base64.b64encode(hero).decode()
    return f"""<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<title>{escape(TITLE)}</title>
<style>
{CSS}
{styles}
</style>
</head>
<body>
<h1>{escape(TITLE)}</h1>
<p class="small">{escape(ABOUT)}</p>
<figure><img alt="{escape(CAPTION)}" src="data:image/png;base64,{image}"><figcaption>{escape(CAPTION)}</figcaption></figure>
<table>
<colgroup><col class="claim"><col><col><col></colgroup>
<thead><tr><th>claim, and what was measured</th>{heads}</tr></thead>
<tbody>
{chr(10).join(body)}
</tbody>
</table>
<p class="small">{escape(told.networks)}</p>
<h2>What a sceptical reader should know</h2>
<ul>{notes}</ul>
<p class="small">{escape(told.provenance)}</p>
</body>
</html>
"""


def _style(verdict: str) -> str:
    return verdict.replace(" ", "-")


WIDTH, HEIGHT, MARGIN = 210 / 25.4, 297 / 25.4, 10 / 25.4  # A4, in inches
SCALES = (1.1, 1.05, 1.0, 0.95, 0.9, 0.85, 0.8, 0.75)  # of all text, until it fits


def as_figure(told: Content, hero):
    """The page as an A4 matplotlib figure; hero: the image's pixels. ValueError if even small text does not fit."""
    with matplotlib.rc_context({"font.family": "DejaVu Sans", "text.usetex": False}):
        for scale in SCALES:
            sheet = _Sheet(scale)
            if sheet.draw(told, hero) >= MARGIN:
                return sheet.figure
            plt.close(sheet.figure)
    raise ValueError(
        f"report: {len(told.rows)} rows and {len(told.notes)} notes, expected what fits on one page"
    )


@cache
def _width(text: str, weight: str) -> float:
    """Width of a text in multiples of its size, as PDF sets it: without hinting."""
    font = FontProperties(family="DejaVu Sans", size=100, weight=weight)
    return text_to_path.get_text_width_height_descent(text, font, ismath=False)[0] / 100


class _Sheet:
    """An A4 figure filled from the top; positions in inches from its lower left corner."""

    def __init__(self, scale: float):
        self.scale, self.figure = scale, plt.figure(figsize=(WIDTH, HEIGHT))
        self.top = HEIGHT - MARGIN

    def wide(self, text: str, size: float, weight="normal") -> float:
        """Width of a text."""
        return _width(text, weight) * size * self.scale / 72

    def lines(self, text: str, width: float, size: float, indent: float = 0.0) -> list[str]:
        """The text broken into lines of at most `width`, the first shorter by `indent`; a word too wide alone is broken."""
        inch = size * self.scale / 72
        out, left = [""], width - indent
        for word in text.split():
            for part in [word] if _width(word, "normal") * inch <= width else word:
                wide = (
                    _width(f"{part} |", "normal") - _width("|", "normal")
                ) * inch  # with the space behind it
                if _width(part, "normal") * inch > left:
                    out.append("")
                    left = width
                out[-1] += part
                left -= wide if part is word else _width(part, "normal") * inch
            out[-1] += " "
        return [line.strip() for line in out]

    def write(self, text, x, y, width, size, bold="", colour="#1A1A1A") -> float:
        """Text from (x, y) downwards, `bold` in front of it; returns where it ends."""
        style = {
            "fontsize": size * self.scale,
            "va": "baseline",
            "ha": "left",
            "color": colour,
            "parse_math": False,
        }
        indent = self.wide(f"{bold} ", size, "bold") + 0.02 if bold else 0.0
        base = 0.95 * size * self.scale / 72  # from a line's top to its baseline
        if bold:
            self.figure.text(x / WIDTH, (y - base) / HEIGHT, bold, weight="bold", **style)
        for number, line in enumerate(self.lines(text, width, size, indent)):
            start = x + (indent if number == 0 else 0)
            self.figure.text(start / WIDTH, (y - base) / HEIGHT, line, **style)
            y -= 1.28 * size * self.scale / 72
        return y

    def badge(self, verdict, x, y, size) -> tuple[float, float]:
        """A verdict in its box; returns where it ends, to the right and below."""
        mark, ink, paper = BADGES[verdict]
        text, high = f"{mark} {verdict}", 1.5 * size * self.scale / 72
        wide = self.wide(text, size, "bold") + 0.08
        corner, size_of = (x / WIDTH, (y - high) / HEIGHT), (wide / WIDTH, high / HEIGHT)
        box = Rectangle(
            corner, *size_of, fc=paper, ec=ink, lw=0.5, transform=self.figure.transFigure
        )
        self.figure.add_artist(box)
        self.figure.text(
            (x + 0.04) / WIDTH, (y - high / 2) / HEIGHT, text, fontsize=size * self.scale, weight="bold", color=ink,
            va="center_baseline", ha="left", parse_math=False,
        )  # fmt: skip
        return x + wide, y - high

    def rule(self, y) -> None:
        """A thin line across the page."""
        line = plt.Line2D(
            [MARGIN / WIDTH, 1 - MARGIN / WIDTH], [y / HEIGHT] * 2, color="#BBBBBB", lw=0.5
        )
        self.figure.add_artist(line)

    def draw(self, told: Content, hero) -> float:
        """All of the page; returns where it ends, below the margin if it did not fit."""
        full, grey, gap = WIDTH - 2 * MARGIN, "#444444", 0.05
        y = self.write(TITLE, MARGIN, self.top, full, 11.5, colour="#000000") - gap
        y = self.write(ABOUT, MARGIN, y, full, 6.2, colour=grey) - gap
        high = full * hero.shape[0] / hero.shape[1]
        axes = self.figure.add_axes(
            (MARGIN / WIDTH, (y - high) / HEIGHT, full / WIDTH, high / HEIGHT)
        )
        axes.imshow(hero, aspect="auto", interpolation="none")
        axes.set_axis_off()
        y = self.write(CAPTION, MARGIN, y - high - gap, full, 6.2, colour=grey) - gap
        first = 0.31 * full
        each, pad = (full - first) / len(SHOWN), 0.06
        edges = [MARGIN + first + each * k for k in range(len(SHOWN))]
        for x, name in zip((MARGIN, *edges), ("claim, and what was measured", *SHOWN)):
            self.write("", x, y, each, 7, bold=name)
        y -= 1.5 * 7 * self.scale / 72
        for row in told.rows:
            self.rule(y)
            y -= gap
            low = self.write(row.statement, MARGIN, y, first - pad, 6.8, bold=row.claim)
            ends = [self.write(row.metric, MARGIN, low, first - pad, 5.6, colour=grey)]
            width = (full - first if len(row.cells) == 1 else each) - pad
            ends_of = [self.badge(cell.verdict, x, y, 6.4) for x, cell in zip(edges, row.cells)]
            beside = all(
                right + 0.05 + self.wide(cell.number, 6.6) <= x + width
                for x, cell, (right, _) in zip(edges, row.cells, ends_of)
            )
            for x, cell, (right, low) in zip(edges, row.cells, ends_of):
                if beside:
                    self.write(cell.number, right + 0.05, y - 0.02, width, 6.6)
                else:
                    low = self.write(cell.number, x, low - 0.02, width, 6.6)
                ends.append(self.write(cell.about, x, low - 0.02, width, 5.4, colour=grey))
            y = min(ends) - gap / 2
        self.rule(y)
        y = self.write(told.networks, MARGIN, y - gap, full, 6.2) - gap
        y = self.write("", MARGIN, y, full, 7.5, bold="What a sceptical reader should know")
        for title, text in told.notes:
            y = self.write(text, MARGIN, y, full, 6.2, bold=f"{title}.")
        return self.write(told.provenance, MARGIN, y - gap, full, 5.4, colour=grey)


def pages(pdf: bytes) -> int:
    """Number of pages of a PDF that matplotlib wrote."""
    return len(re.findall(rb"/Type\s*/Page\b(?!s)", pdf))
