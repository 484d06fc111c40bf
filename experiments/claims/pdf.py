"""The printed claims as PDF: two pages of A4, laid out by fpdf2 from the content of `page`."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

import matplotlib
from fpdf import FPDF
from fpdf.fonts import FontFace

from experiments.run import written_aside
from experiments.claims.terms import BADGES, number

SCALES = (1.1, 1.05, 1.0, 0.95, 0.9, 0.85, 0.8)  # of all text, until it fits
PAGES, MARGIN = 2, 10  # MARGIN in mm
FONT, BLACK, GREY, SHADE = "DejaVu Sans", "#1A1A1A", "#444444", "#F2F2F2"
DATE = datetime(2020, 1, 1, tzinfo=UTC)  # the same in every file


def write_pdf(told, path: Path) -> None:
    """Write a `page.Content`; ValueError if even small text does not fit on two pages."""
    for scale in SCALES:
        sheet = draw(told, scale)
        if sheet.page_no() <= PAGES:
            with written_aside(path) as aside:
                sheet.output(str(aside))
            return
    raise ValueError(
        f"page: {len(told.groups)} claims and {len(told.notes)} notes do not fit on {PAGES} pages"
    )


def draw(told, scale: float) -> FPDF:
    """All pages, with all text at `scale`."""
    sheet = _sheet(told)

    def say(text: str, size: float, bold="", colour=GREY):
        high = 0.42 * size * scale  # mm a line
        sheet.set_text_color(colour)
        for style, part in (("B", bold), ("", text)):
            sheet.set_font(FONT, style, size * scale)
            sheet.write(high, part)
        sheet.ln(high + 0.5)

    say("", 10.4, told.title, "#000000")
    say(told.about, 6.8)
    sheet.image(told.hero, w=sheet.epw)
    say(told.caption, 6.8)
    _claims(sheet, told, scale)
    sheet.ln(1)
    for sentence in told.networks:
        say(sentence, 6.8)
    say("", 8, told.remember, BLACK)
    for title, sentences in told.notes:
        say("", 6.8, title, BLACK)
        for sentence in sentences:
            say(f"• {sentence}", 6.8)
    say("", 8, told.rules, BLACK)
    _rules(sheet, told, scale)
    sheet.ln(1)
    say(told.provenance, 6)
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


def _claims(sheet: FPDF, told, scale: float) -> None:
    """A shaded row a claim; under it one a scenario: verdict with number, and what they mean."""
    bold, plain = (FontFace(FONT, style, 6.8 * scale, BLACK) for style in ("BOLD", ""))
    shade, small = FontFace(FONT, "", 6.8 * scale, BLACK, SHADE), FontFace(FONT, "", 6.4 * scale)
    with sheet.table(
        col_widths=(5, 15, 30, 15, 30), borders_layout="NONE", text_align="LEFT", v_align="TOP",
        headings_style=bold, line_height=2.75 * scale, padding=(0.3, 0.8), gutter_width=0.4,
    ) as table:  # fmt: skip
        heads = table.row()
        for head, span in zip(told.heads, (1, 2, 2)):
            heads.cell(head, colspan=span)
        for claim, statement, what, lines in told.groups:
            told_so = f"{claim} {statement}: {what}" if statement else f"{claim} {what}"
            table.row().cell(told_so, style=shade, colspan=5)
            for scenario, *cells in lines:
                row = table.row()
                row.cell(scenario, style=plain)
                shown = [cell for cell in cells if cell]
                for cell in shown:
                    mark, ink, paper = BADGES.get(cell.verdict, ("", BLACK, None))
                    badge = FontFace(FONT, "BOLD" if mark else "", 6.6 * scale, ink, paper)
                    verdict = f"{mark} {cell.verdict}\n" if mark else ""
                    row.cell(verdict + number(cell), style=badge)
                    row.cell(cell.reference, style=small, colspan=1 if shown[1:] else 3)


def _rules(sheet: FPDF, told, scale: float) -> None:
    bold, plain = (FontFace(FONT, style, 6.6 * scale, BLACK) for style in ("BOLD", ""))
    with sheet.table(
        col_widths=(5, 50, 27, 36), text_align="LEFT", v_align="TOP", headings_style=bold,
        line_height=2.75 * scale, padding=0.5, borders_layout="HORIZONTAL_LINES",
    ) as table:  # fmt: skip
        heads = table.row()
        for head in ("", *told.rule_heads):
            heads.cell(head)
        for claim, rule in told.log:
            row = table.row()
            row.cell(claim, style=bold)
            for text in rule:
                row.cell(text, style=plain)
