"""The figure of plans: what changes as the wireless link does."""

from __future__ import annotations

import pandas as pd
from matplotlib.figure import Figure

from anygraph.drawing import delay_lines, share_areas
from anygraph.state import QUANTITIES
from experiments.plots import style as st
from experiments.plots.words import span


def plan_sweep(table: pd.DataFrame) -> Figure:
    """Delays above and shares of cycles below, a column of panels for each model.

    Parameters
    ----------
    table : pandas.DataFrame
        As of `studies.plan.sweeps`.
    """
    models = table.model.unique()
    label, factor = QUANTITIES["up"].label, QUANTITIES["up"].factor
    options = {"sharex": True, "height_ratios": (2, 1)}
    fig, axes = st.panels(2, len(models), 3.6, label, **options)
    for (above, below), (model, part) in zip(axes.T, table.groupby("model", sort=False)):
        delay_lines(above, part, factor)
        share_areas(below, part, factor)
        above.set_title(model)
    axes[0, 0].set_ylabel("delay (ms)")
    axes[1, 0].set_ylabel("cycles (%)")
    times = table.value.max() / table.value.min()
    counts = span(table.groupby("model").placement.nunique(), str)
    text = (
        f"While the wireless uplink grows {times:.0f} times, each network has {counts} placements"
    )
    return st.message(st.finish(fig), text)
