"""Figures are drawn small, in the artifact's style, and every warning is an error."""

import warnings

import matplotlib
import matplotlib.pyplot as plt
import pytest

from experiments.plots import style

matplotlib.use("Agg")


@pytest.fixture(autouse=True)
def _styled():
    with plt.rc_context(), warnings.catch_warnings():
        warnings.simplefilter("error")
        warnings.simplefilter("ignore", ResourceWarning)  # matplotlib keeps its fonts open
        style.style()
        plt.rc("figure", dpi=50)
        plt.rc("savefig", dpi=50)
        yield
        plt.close("all")
