"""The figure of a changed application draws its tables, readably, and says what they say."""

import numpy as np
import pandas as pd
import pytest

from experiments.plots.application import FOLLOWED, application
from experiments.studies.application import SERVED

from .reading import drawn, title

LEARNED = ("teacher", "student_plain", "student")


def points() -> pd.DataFrame:
    rows = [
        (role, seconds * (k + 1), regret, 0.9 * regret, 1.2 * regret)
        for seconds, regret in ((3.0, 0.3), (40.0, 0.045))
        for k, role in enumerate(LEARNED)
    ]
    return pd.DataFrame(rows, columns=["policy", "core_seconds", "regret", "low", "high"])


def contest() -> pd.DataFrame:
    regret = np.linspace(0.5, 0.0, len(SERVED))
    table = pd.DataFrame({"policy": SERVED, "regret": regret, "mean_us": 2.0})
    return table.assign(low=0.9 * regret, high=1.2 * regret)


def trace() -> pd.DataFrame:
    rows = [
        (name, policy, window, 60.0 * window, up, factor * 100 * (window + k + 1))
        for name, factor, up in (("walk", 1, 30.0), ("tram", 7, 90.0))
        for k, policy in enumerate(SERVED)
        for window in range(4)
    ]
    columns = ["trace", "policy", "window", "start_s", "up_mbit_s", "mean_ms"]
    return pd.DataFrame(rows, columns=columns)


def test_it_draws_training_decisions_and_the_first_trace():
    figure = drawn(application, points(), contest(), trace())
    training, link, deciding, delays = figure.axes
    student = training.lines[LEARNED.index("student")]
    assert student.get_xdata().tolist() == [9.0, 120.0]
    assert student.get_ydata() == pytest.approx([30.0, 4.5])
    level = {float(line.get_ydata()[0]) for line in training.lines[len(LEARNED) :]}
    assert 0.01 in level and len(level) == len(SERVED) - len(LEARNED)
    assert len(deciding.lines) == len(SERVED)
    assert set(link.lines[0].get_ydata()) == {30.0}
    drawn_ms = [line.get_ydata()[0] for line in delays.lines]
    assert drawn_ms == [100 * (SERVED.index(policy) + 1) for policy in FOLLOWED]


def test_its_title_has_the_longest_training_and_both_regrets():
    text = title(application(points(), contest(), trace()))
    assert "After 120 s" in text and "is 4.5 %;" in text and text.endswith("is 0 %")
