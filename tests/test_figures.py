"""Every figure, as printed, is at most a page wide and its text is large enough to read."""

import pytest
from pypdf import PdfReader

from experiments.plots.style import WIDTH
from experiments.run import ROOT

PDFS = [p for p in sorted((ROOT / "figures").glob("*.pdf")) if p.stem != "claims"]  # that is a page


@pytest.mark.parametrize("path", PDFS, ids=lambda p: p.stem)
def test_a_figure_fits_a_page_and_is_readable(path):
    (page,), sizes = PdfReader(path).pages, []

    def look(text, cm, tm, font, size):
        if text.strip():
            scales = [abs(m[0] * m[3] - m[1] * m[2]) ** 0.5 for m in (cm, tm)]
            sizes.append(size * scales[0] * scales[1])

    page.extract_text(visitor_text=look)
    assert float(page.mediabox.width) <= 72 * WIDTH + 0.01
    assert min(sizes) > 6.99
