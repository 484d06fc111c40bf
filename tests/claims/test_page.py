"""The printed claims: complete, self-contained, two pages, and the same bytes again."""

import base64
import re
from xml.etree import ElementTree

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest
from pypdf import PdfReader

from experiments.run import save_table
from experiments.claims import pdf
from experiments.claims.page import HERO, content, page
from experiments.claims.terms import BADGES, NOTES, RULES, SOURCES, STATEMENTS, measure, number
from experiments.scenarios import SHOWN

AWKWARD = 'lower than <all> & "any" baseline'


def claims(long=1):
    """A claims table of all claims, with every verdict, an extension's row, notes, awkward text."""
    rows, verdicts = [], list(BADGES)

    def row(claim, scenario, statement, metric, verdict):
        about = dict(claim=claim, scenario=scenario, statement=statement, metric=metric)
        about |= dict(value=len(rows) / 7, ci_low=0.01 if len(rows) % 3 else np.nan, ci_high=5.0)
        about["interval"] = f"cover of {claim}"
        rows.append(about | dict(reference=AWKWARD * long, verdict=verdict))

    for at, (claim, statement) in enumerate(STATEMENTS.items()):
        for k, name in enumerate(["all"] if claim == "C3" else [*SHOWN, "networks_vgg16"]):
            metric = "student: regret (%)" if claim == "C5" else f"metric of {claim} (µs, in C)"
            row(claim, name, statement, metric, verdicts[(at + k) % len(verdicts)])
            row(claim, name, statement, "one that only informs", "-")
            if claim == "C5":
                row(claim, name, statement, "anygraph: regret (%)", "reproduced")
    for note in NOTES:
        for name in SHOWN:
            row(note, name, f"{note} of {name} takes < 3 µs " * long, "m", "-")
    return pd.DataFrame(rows)


@pytest.fixture
def run(fresh):
    save_table(fresh, "claims", claims())
    hero = np.random.default_rng(0).random((80, 220, 3))
    plt.imsave(fresh.figures / f"{HERO}.png", hero)
    return fresh


def missing(text):
    """What the page must say and does not, whatever the white space."""
    table, text = claims(), re.sub(r"\s", "", text)
    shown = table[(table.verdict != "-") & table.scenario.isin([*SHOWN, "all"])]
    said = [f"{claim} {statement}" for claim, statement in STATEMENTS.items()]
    said += [f"{BADGES[r.verdict][0]} {r.verdict} {number(r)}" for r in shown.itertuples()]
    assert measure("metric of C1 (µs, in C)") == "metric of C1 (in C)"
    metrics = [measure(metric) for metric in shown.metric if not metric.startswith("anygraph")]
    said += [m.removeprefix("student: ") for m in metrics]
    said += [
        AWKWARD,
        "On 1 real networks, the paper's student: C1: ",
        "anygraph: C5: reproduced on 1",
    ]
    said += [f"{name}: {note} of {name} takes < 3 µs" for note in NOTES for name in SHOWN]
    said += [f"intervals over cover of {claim}" for claim in STATEMENTS]
    said += [text for rule in RULES.values() for text in rule]
    said += [*NOTES.values(), "profile tiny", "seed 2020", "numpy", *SOURCES]
    marks = [f"{mark}{verdict}".replace(" ", "") for verdict, (mark, *_) in BADGES.items()]
    assert sum(text.count(mark) for mark in marks) == len(shown)
    assert text.count("".join(AWKWARD.split())) == len(shown)
    return [what for what in said if re.sub(r"\s", "", what) not in text]


def test_html_is_complete_and_refers_to_nothing_outside(run):
    html, _ = page(run)
    document = html.read_text(encoding="utf-8")
    elements = list(ElementTree.fromstring(document.removeprefix("<!DOCTYPE html>")).iter())
    text = " ".join(part or "" for e in elements for part in (e.text, e.tail))
    assert missing(text) == [] and AWKWARD not in document
    names = ("src", "href", "srcset", "data", "action")
    links = [value for e in elements for key, value in e.items() if key in names]
    assert len(links) == 1 and links[0].startswith("data:image/png;base64,")
    image = base64.b64decode(links[0].split(",")[1])
    assert image == (run.figures / f"{HERO}.png").read_bytes()
    rest = document.replace(links[0], "")
    assert not re.search(r"https?:|//[a-z]|@import|url\(|<script", rest) and "size: A4" in rest


@pytest.mark.parametrize("long", [1, 3])
def test_pdf_is_a_complete_a4_sheet_that_can_be_read(run, long):
    """Longer texts make the print smaller, but never too small; nothing leaves the sheet."""
    save_table(run, "claims", claims(long))
    reader = PdfReader(page(run)[1])
    front, back = reader.pages
    assert front.mediabox[2:] == pytest.approx((595.3, 841.9), abs=0.1) and len(front.images) == 1
    places = []
    text = "".join(
        sheet.extract_text(visitor_text=lambda t, _, at, __, size: places.append((t, at, size)))
        for sheet in (front, back)
    )
    if long == 1:
        assert missing(text) == []
    assert all(text.split().count(claim) >= 2 for claim in STATEMENTS)  # judged, and its rule
    for part, (*_, x, y), size in places:
        assert not part.strip() or (28 <= x <= 567 and 28 <= y <= 814 and size >= 5), part


def test_the_extension_stands_beside_the_student(run):
    (lines,) = (lines for claim, *_, lines in content(run).groups if claim == "C5")
    assert [scenario for scenario, *_ in lines] == [*SHOWN]
    for scenario, student, extension in lines:
        assert student.scenario == extension.scenario == scenario
        assert extension.metric == student.metric.replace("student", "anygraph")


def test_too_much_text_is_refused(run, monkeypatch):
    monkeypatch.setattr(pdf, "SCALES", pdf.SCALES[-1:])
    monkeypatch.setattr(pdf, "PAGES", 1)
    with pytest.raises(ValueError, match="page: 7 claims and 4 notes do not fit on 1 pages"):
        page(run)
    assert not (run.figures / "claims.pdf").exists()


def test_the_same_tables_give_the_same_bytes(run, monkeypatch):
    monkeypatch.setattr(pdf, "SCALES", pdf.SCALES[-1:])
    first = [path.read_bytes() for path in page(run)]
    for path in page(run):
        path.unlink()
    with plt.rc_context({"font.size": 30, "font.family": "serif"}):
        assert [path.read_bytes() for path in page(run)] == first
    dates = re.findall(rb"\(D:(\d{8})", first[1])
    assert set(dates) == {b"20200101"}


def test_what_is_missing_is_named(run):
    (run.figures / f"{HERO}.png").unlink()
    with pytest.raises(ValueError, match=r"figure: tradeoff\.png is missing"):
        content(run)
    plt.imsave(run.figures / f"{HERO}.png", np.zeros((8, 22, 3)))
    save_table(run, "claims", claims().query("claim != 'C2'"))
    with pytest.raises(ValueError, match=r"table: claims\.csv has no verdict on C2"):
        content(run)
    (run.figures / "claims.csv").unlink()
    with pytest.raises(ValueError, match=r"table: claims\.csv is missing"):
        page(run)
