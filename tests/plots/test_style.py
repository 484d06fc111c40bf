"""What all figures share: colours, files that are the same each time, intervals, words."""

import statistics

import numpy as np
import pandas as pd
import pytest

from experiments.baselines import POLICIES, Policy
from experiments.plots import style, words
from experiments.profiles import PAPER
from experiments.run import Run


def simple():
    figure, ((ax,),) = style.panels(1, 1, 2, "x (s)", "y", "y")
    ax.plot([1, 2, 3], [1, 20, 100], label="a line")
    return style.message(style.finish(figure), "One message")


def test_a_colour_has_one_meaning_and_no_two_policies_look_alike():
    places, kinds = set(style.LOCATION_COLOURS.values()), set(style.KIND_COLOURS.values())
    assert len(places) == 3 and len(kinds) == 8 and not places & kinds
    assert set(map(style.kind, POLICIES)) == set(style.KIND_COLOURS) == set(style.KIND_NAMES)
    looks = style.looks(POLICIES).values()
    assert len({(look["color"], look["ls"], look["marker"]) for look in looks}) == len(POLICIES)
    assert style.kind("exact_100") == "search" and style.kind("anygraph, 80") == "ours"


def test_a_registered_policy_has_a_colour_whatever_its_kind(monkeypatch):
    for kind, drawn in (("optimal", "search"), ("learned", "learned"), ("fixed", "fixed")):
        monkeypatch.setitem(POLICIES, "mine", Policy("mine", kind, lambda graph, tasks: tasks))
        assert style.colour("mine") == style.KIND_COLOURS[drawn]


def test_a_saved_figure_says_what_made_it_and_is_the_same_each_time(fresh):
    content = []
    for _ in range(2):
        style.save(fresh, simple(), "f")
        content.append({p.name: p.read_bytes() for p in fresh.figures.iterdir()})
    assert content[0] == content[1] and set(content[0]) == {"f.png", "f.pdf"}
    assert all(b"profile=tiny, seed=" in file for file in content[0].values())
    assert b"CreationDate" not in content[0]["f.pdf"]
    with pytest.raises(ValueError, match=r"figure: f is 7\.3 in wide, expected at most 7\.2"):
        style.save(fresh, style.panels(1, 1, 1, width=7.3)[0], "f")


def test_what_is_not_of_the_reference_says_so_beside_the_panels(fresh):
    style.save(fresh, figure := simple(), "f")
    (mark,) = [text for text in figure.texts if "profile" in text.get_text()]
    assert mark.get_text() == "profile: tiny"
    left, right = (thing.get_window_extent().x1 for thing in (figure.axes[0], figure))
    assert left < mark.get_window_extent().x0 and mark.get_window_extent().x1 <= right
    style.save(Run(PAPER, fresh.out), figure := simple(), "f")
    assert not [text for text in figure.texts if "profile" in text.get_text()]


def test_ticks_of_logarithmic_axes_are_plain_numbers():
    figure = simple()
    figure.draw_without_rendering()
    ticks = [tick.get_text() for tick in figure.axes[0].get_yticklabels()]
    assert {"1", "10", "100"} <= set(ticks)
    assert [text.get_text() for text in figure.legends[0].get_texts()] == ["a line"]


def test_the_interval_over_seeds_is_students():
    rows = pd.DataFrame({"x": [1, 1, 1, 2, 3, 3], "y": [1.0, 2.0, 6.0, 5.0, 4.0, 4.0]})
    made = style.over_seeds(rows, "x", "y")
    half = 4.302652729911275 * statistics.stdev([1, 2, 6]) / 3**0.5  # t, two degrees of freedom
    assert made.loc[1].tolist() == pytest.approx([3 - half, 3, 3 + half])
    assert made.loc[2].tolist() == [5, 5, 5] and made.loc[3].tolist() == [4, 4, 4]


def test_numbers_in_sentences():
    assert words.number(12345.6) == "12,346" and words.number(0.01234) == "0.012"
    assert words.percent(0.031) == "3.1\xa0%" and words.percent(1e-6) == "0\xa0%"
    assert words.listed([]) == "none" and words.listed("abc") == "a, b and c"
    assert words.each(pd.Series({"dag": 0.5})) == "50\xa0% (dag)"
    assert words.span([0.1, 0.3]) == "10\xa0% to 30\xa0%" and words.span([1, 1], str) == "1"
    assert np.array_equal(style.floored_percent(np.array([0.0, 0.5])), [style.FLOOR, 50])
