"""The printed page: complete, self-contained, one page, the same bytes again, and nothing outside its box."""

import base64
import re
from html.parser import HTMLParser

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest

from kd_offload import report
from kd_offload.claims import NOTES, SHOWN, STATEMENTS
from kd_offload.config import get_run, save_table

AWKWARD = 'lower than <all> & "any" rival'


def claims(extension="student_verified's regret", long=1):
    """A claims table of all claims, with every verdict, an extension's row, notes, and text that HTML must escape."""
    rows, verdicts = [], list(report.BADGES)

    def row(claim, scenario, statement, metric, verdict):
        rows.append(
            dict(claim=claim, scenario=scenario, statement=statement, metric=metric, value=len(rows) / 7)
            | dict(ci_low=0.01 if len(rows) % 3 else np.nan, ci_high=5.0, reference=AWKWARD * long, verdict=verdict)
        )

    for number, (claim, statement) in enumerate(STATEMENTS.items()):
        names = ["all"] if claim == "C3" else [*SHOWN, "networks_vgg16"]
        for k, name in enumerate(names):
            row(claim, name, statement, f"metric of {claim}", verdicts[(number + k) % 3])
            row(claim, name, statement, "one that only informs", "-")
            if claim == "C5":
                row(claim, name, statement, extension, "reproduced")
    for note in NOTES:
        for name in SHOWN:
            row(note, name, f"{note} of {name} takes < 3 µs " * long, "m", "-")
    return pd.DataFrame(rows)


@pytest.fixture
def run(tmp_path):
    run = get_run("tiny", str(tmp_path))
    save_table(run, claims(), run.figures / "claims.csv")
    plt.imsave(run.figures / f"{report.HERO}.png", np.random.default_rng(0).random((80, 220, 3)))
    return run


class Reader(HTMLParser):
    """Text, attributes and open tags of a document."""

    VOID = ("meta", "img", "col", "br")

    def __init__(self, document):
        super().__init__()
        self.text, self.attributes, self.open = [], [], []
        self.feed(document)
        self.close()

    def handle_starttag(self, tag, attrs):
        self.attributes += attrs
        if tag not in self.VOID:
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        self.text.append(data)


def test_html_is_complete_and_refers_to_nothing_outside(run):
    html, _ = report.page(run)
    document = html.read_text(encoding="utf-8")
    reader = Reader(document)
    assert reader.open == []
    text = " ".join(" ".join(reader.text).split())
    table = claims()
    for claim, statement in STATEMENTS.items():
        assert f"{claim} {statement}" in text
    for verdict in report.BADGES:
        shown = table[(table.verdict == verdict) & table.scenario.isin([*SHOWN, "all"])]
        assert text.count(f"{report.BADGES[verdict][0]} {verdict}") == len(shown) > 0
    assert AWKWARD in text and AWKWARD not in document and "student_verified's regret" in text
    for row in table[(table.verdict != "-") & table.scenario.isin([*SHOWN, "all"])].itertuples():
        assert (f" {row.value:.3g} [0.01, 5]" if row.ci_low > 0 else f" {row.value:.3g} {AWKWARD}") in text
    assert "On the 1 real networks: C1 1 " in text
    assert all(f"{name}: {note} of {name} takes < 3 µs" in text for note in NOTES for name in SHOWN)
    assert all(name in text for name in ("profile tiny", "seed 2020", "numpy", *report.SOURCES))
    links = [v for k, v in reader.attributes if k in ("src", "href", "srcset", "data", "action")]
    assert len(links) == 1 and links[0].startswith("data:image/png;base64,")
    assert base64.b64decode(links[0].split(",")[1]) == (run.figures / f"{report.HERO}.png").read_bytes()
    assert not re.search(r"https?:|//[a-z]|@import|url\(|<script", document.replace(links[0], ""))
    assert "size: A4" in document


def test_pdf_is_one_a4_page_with_every_verdict(run):
    _, pdf = report.page(run)
    content = pdf.read_bytes()
    assert len(re.findall(rb"/Type\s*/Page\b(?!s)", content)) == report.pages(content) == 1
    width, height = map(float, re.search(rb"/MediaBox \[ 0 0 (\S+) (\S+) \]", content).groups())
    assert width == pytest.approx(595.3, abs=0.1) and height == pytest.approx(841.9, abs=0.1)


@pytest.mark.parametrize("long", [1, 4])
def test_nothing_on_the_sheet_leaves_it_or_covers_another(run, long):
    """Longer texts make the print smaller, no more than it can be read."""
    save_table(run, claims(long=long), run.figures / "claims.csv")
    told = report.content(run)
    figure = report.as_figure(told, np.zeros((80, 220, 3)))
    figure.set_dpi(300)
    with plt.rc_context({"text.hinting": "none"}):  # as in PDF
        renderer = figure.canvas.get_renderer()
        texts = [t for t in figure.texts if t.get_text().strip()]
        boxes = [(t.get_text(), t.get_window_extent(renderer).padded(-2.5)) for t in texts]
    shown = " ".join(text for text, _ in boxes)
    assert all(claim in shown.split() for claim in STATEMENTS)
    assert all(shown.count(f"{mark} {v}") for v, (mark, *_) in report.BADGES.items())
    assert min(t.get_fontsize() for t in figure.texts) >= 4
    for number, (text, box) in enumerate(boxes):
        assert box.x0 >= 0.35 * 300 and box.x1 <= (report.WIDTH - 0.35) * 300, text
        assert box.y0 >= 0.35 * 300 and box.y1 <= (report.HEIGHT - 0.3) * 300, text
        assert [other for other, b in boxes[number + 1 :] if box.overlaps(b)] == [], text
    plt.close(figure)


def test_too_much_text_is_refused(run):
    save_table(run, claims(long=15), run.figures / "claims.csv")
    with pytest.raises(ValueError, match=r"report: 7 rows and 4 notes, expected what fits on one page"):
        report.page(run)
    assert not (run.figures / "claims.pdf").exists()


def test_the_same_tables_give_the_same_bytes(run):
    first = [path.read_bytes() for path in report.page(run)]
    for path in (run.figures / "claims.html", run.figures / "claims.pdf"):
        path.unlink()
    with plt.rc_context({"savefig.bbox": "tight", "font.size": 30, "axes.grid": True, "font.family": "serif"}):
        assert [path.read_bytes() for path in report.page(run)] == first
    assert b"CreationDate" not in first[1]


def test_what_is_missing_is_named(run):
    (run.figures / f"{report.HERO}.png").unlink()
    with pytest.raises(ValueError, match=r"figure: tradeoff\.png is missing"):
        report.page(run)
    table = claims()
    save_table(run, table[table.claim != "C2"], run.figures / "claims.csv")
    with pytest.raises(ValueError, match=r"table: claims\.csv has no verdict on C2"):
        report.page(run)
    (run.figures / "claims.csv").unlink()
    with pytest.raises(ValueError, match=r"table: claims\.csv is missing"):
        report.page(run)
