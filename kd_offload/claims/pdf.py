"""The printed sheet as PDF: two pages of A4, laid out by fpdf2 from the content of `page`."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

import matplotlib
from fpdf import FPDF
from fpdf.fonts import FontFace

from ..artifact import written_aside
from ..scenarios import SHOWN
from .terms import BADGES, number

SCALES = (1.1, 1.05, 1.0, 0.95, 0.9, 0.85, 0.8, 0.75)  # of all text, until it fits
MARGIN = 10  # mm
FONT, BLACK, GREY = "DejaVu Sans", "#1A1A1A", "#444444"
DATE = datetime(2020, 1, 1, tzinfo=UTC)  # the same in every file


def write_pdf(told, path: Path) -> None:
    """Write a `page.Content`; ValueError if even small text does not fit: verdicts on the first
    page, rules on the second."""
    for scale in SCALES:
        sheet = draw(told, scale)
        if sheet.page_no() == 1:
            _rules(sheet, told)
            with written_aside(path) as aside:
                sheet.output(str(aside))
            return
    raise ValueError(
        f"page: {len(told.rows)} rows and {len(told.notes)} notes, expected what fits on one page"
    )


def draw(told, scale: float) -> FPDF:
    """The first page with all text at `scale`; what does not fit goes to a second one."""
    sheet = _sheet(told)

    def say(text: str, size: float, bold="", colour=GREY):
        high = 0.43 * size * scale  # mm a line
        sheet.set_text_color(colour)
        for style, part in (("B", bold), ("", text)):
            sheet.set_font(FONT, style, size * scale)
            sheet.write(high, part)
        sheet.ln(high + 0.7)

    say("", 10.4, told.title, "#000000")
    say(told.about, 6.2)
    sheet.image(told.hero, w=sheet.epw)
    say(told.caption, 6.2)
    _table(sheet, told, scale)
    sheet.ln(1)
    say(told.networks, 6.2)
    say("", 7.5, told.remember, BLACK)
    for title, text in told.notes:
        say(f" {text}", 6.2, f"{title}.", BLACK)
    say(told.provenance, 5.4)
    return sheet


def _sheet(told) -> FPDF:
    sheet = FPDF(format="A4")
    sheet.set_margin(MARGIN)
    sheet.set_auto_page_break(True, MARGIN)
    sheet.set_title(told.title)
    sheet.set_keywords(told.provenance)
    sheet.set_creation_date(DATE)
    fonts = Path(matplotlib.get_data_path()) / "fonts" / "ttf"
    sheet.add_font(FONT, "", fonts / "DejaVuSans.ttf")
    sheet.add_font(FONT, "B", fonts / "DejaVuSans-Bold.ttf")
    sheet.add_page()
    return sheet


def _table(sheet: FPDF, told, scale: float) -> None:
    """A row of statement and verdicts for each claim, and under it one of what was measured."""
    bold = FontFace(FONT, "BOLD", 6.8 * scale, BLACK)
    plain, small = FontFace(FONT, "", 6.8 * scale, BLACK), FontFace(FONT, "", 5.6 * scale, GREY)
    with sheet.table(
        col_widths=(4, 29, 23, 23, 23), borders_layout="NONE", text_align="LEFT", v_align="TOP",
        headings_style=bold, line_height=2.7 * scale, padding=0.4, gutter_width=0.6,
    ) as table:  # fmt: skip
        heads = table.row()
        heads.cell(told.heading, colspan=2)
        for name in SHOWN:
            heads.cell(name)
        for row in told.rows:
            span = len(SHOWN) // len(row)
            head, below = table.row(), table.row()
            head.cell(row[0].claim, style=bold)
            head.cell(row[0].statement, style=plain)
            below.cell("")
            over = row[0].interval
            covered = f"; interval over {over}" if isinstance(over, str) else ""
            below.cell(row[0].metric + covered, style=small)
            for cell in row:
                mark, ink, paper = BADGES[cell.verdict]
                badge = FontFace(FONT, "BOLD", 6.4 * scale, ink, paper)
                head.cell(f"{mark} {cell.verdict} {number(cell)}", style=badge, colspan=span)
                below.cell(cell.reference, style=small, colspan=span)


def _rules(sheet: FPDF, told) -> None:
    """A page of the rules, and of how they changed."""
    sheet.add_page()
    sheet.set_font(FONT, "B", 9)
    sheet.write(5, told.rules)
    sheet.ln(6)
    bold, plain = FontFace(FONT, "BOLD", 7.5, BLACK), FontFace(FONT, "", 7, BLACK)
    with sheet.table(
        col_widths=(6, 52, 28, 32), text_align="LEFT", v_align="TOP", headings_style=bold,
        line_height=3.2, padding=0.8, borders_layout="HORIZONTAL_LINES",
    ) as table:  # fmt: skip
        heads = table.row()
        for head in ("", *told.heads):
            heads.cell(head)
        for claim, rule in told.log:
            row = table.row()
            row.cell(claim, style=bold)
            for text in rule:
                row.cell(text, style=plain)
