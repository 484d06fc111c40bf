"""The figure of the testbed, from its saved tables."""

import pandas as pd

from experiments.plots import style as st
from experiments.plots.words import listed, percent

# By setting (see `studies.testbed.SETTING`): title of its panel, name in the legend, marker.
SETTINGS = {
    ("held", "user"): ("costs emulated,\nlinks emulated", "both emulated", "o"),
    ("held", "tc"): ("costs emulated,\nlinks of the kernel", "links of the kernel", "D"),
    ("real", "user"): ("costs real,\nlinks emulated", "costs real", "s"),
    ("real", "tc"): ("costs real,\nlinks of the kernel", "costs real, links of the kernel", "^"),
}


def testbed(summary: pd.DataFrame):
    """Measured beside predicted delay, one panel per setting; last, regret under measured delay.

    Parameters
    ----------
    summary : pandas.DataFrame
        The table `testbed_summary`.

    Returns
    -------
    matplotlib.figure.Figure
    """
    settings = list(summary.groupby(["compute", "mode"], sort=False).groups)
    fig, (row,) = st.panels(1, 1 + len(settings), 2.5, sharey=True)
    overall = summary[summary.policy == "all"].set_index(["compute", "mode"])
    policies = summary[summary.policy != "all"]
    names = list(policies.policy.unique())
    for ax, setting in zip(row, settings):
        mine = policies[(policies.compute == setting[0]) & (policies["mode"] == setting[1])]
        _errors(ax, mine, names, SETTINGS[setting][2])
        ax.set_title(f"{SETTINGS[setting][0]}, {overall.tasks[setting]} tasks")
    _regret(row[-1], policies, names, settings)
    row[0].set_yticks(range(len(names)), names)
    row[0].invert_yaxis()
    st.message(fig, _text(overall))
    keys = []
    for setting in settings:
        _, label, marker = SETTINGS[setting]
        keys.append(st.key(label, marker=marker, mec="black", ms=4))
    bars = "bars: 5th to 95th percentile of tasks; of regrets, 95\u00a0% interval"
    keys.append(st.key(bars, color="black", marker="_"))
    return st.finish(fig, *keys, columns=4, handlelength=1.5)


def _text(overall: pd.DataFrame) -> str:
    """The figure's message: the median error by how subtasks took their time."""
    named = {"held": "costs are emulated", "real": "layers are really computed"}
    errors = overall.groupby("compute", sort=False).error_median.max()
    parts = [f"{percent(error)} where {named[compute]}" for compute, error in errors.items()]
    return f"Half of the predictions are right within {listed(parts)}"


def _errors(ax, mine: pd.DataFrame, names: list[str], marker: str) -> None:
    ax.axvline(0, color="black", lw=0.8, zorder=0)
    for row in mine.itertuples():
        values = [100 * row.bias_low, 100 * row.bias_median, 100 * row.bias_high]
        st.dot(ax, names.index(row.policy), values, st.colour(row.policy), marker=marker)
    ax.grid(axis="y", visible=False)
    ax.set_xlabel("longer than predicted (%)")


def _regret(ax, policies: pd.DataFrame, names: list[str], settings: list[tuple]) -> None:
    for row in policies.itertuples():
        setting = (row.compute, row.mode)
        apart = 0.25 * (settings.index(setting) - 0.5 * (len(settings) - 1))
        values = pd.Series([row.regret_mean_low, row.regret_mean, row.regret_mean_high])
        y = names.index(row.policy) + apart
        marker = SETTINGS[setting][2]
        st.dot(ax, y, st.floored_percent(values), st.colour(row.policy), marker=marker)
    ax.grid(axis="y", visible=False)
    ax.set(xscale="log", xlabel=f"regret (%), from {st.FLOOR}")
    ax.set_title("regret under\nmeasured delay, mean")
