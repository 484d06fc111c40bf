"""The figure of a changed application: what training buys, and delays while the link moves."""

import pandas as pd
from matplotlib.axes import Axes

from experiments.plots import style as st
from experiments.plots.words import number, percent

FOLLOWED = ("all_edge", "lookahead", "student", "anygraph")  # over time


def application(points: pd.DataFrame, contest: pd.DataFrame, trace: pd.DataFrame):
    """Left: regret against training and against the time of a decision; right: one trace.

    Parameters
    ----------
    points, contest, trace : pandas.DataFrame
        The tables `application_points`, `application_contest` and `application_trace`.

    Returns
    -------
    matplotlib.figure.Figure
    """
    fig, ((training, link), (deciding, delays)) = st.panels(2, 2, 4.6)
    looks = st.looks(contest.policy)
    _training(training, points, contest, looks)
    _deciding(deciding, contest, looks)
    _over_time(link, delays, trace[trace.trace == trace.trace.iloc[0]], looks)
    last = points[points.policy == "student"].iloc[-1]
    general = contest.set_index("policy").regret["anygraph"]
    st.message(
        fig,
        f"After {number(last.core_seconds)} s of training on one core, the student's regret on the "
        f"new graph is {percent(last.regret)}; anygraph's, without any, is {percent(general)}",
    )
    return st.finish(fig, *[st.key(policy, **look) for policy, look in looks.items()], columns=4)


def _training(ax: Axes, points: pd.DataFrame, contest: pd.DataFrame, looks: dict) -> None:
    for policy, part in points.groupby("policy", sort=False):
        values = st.floored_percent(part[["low", "regret", "high"]])
        st.line(ax, part.core_seconds, values, looks[policy])
    regret = st.floored_percent(contest.set_index("policy").regret)
    for policy in contest.policy:
        if policy not in set(points.policy):
            ax.axhline(regret[policy], **looks[policy] | {"marker": ""})
    ax.set(xscale="log", yscale="log", title="regret by training")
    ax.set(xlabel="labels and training, seconds of one core", ylabel=f"regret (%), from {st.FLOOR}")


def _deciding(ax: Axes, contest: pd.DataFrame, looks: dict) -> None:
    for row in contest.itertuples():
        low, regret, high = st.floored_percent(pd.Series([row.low, row.regret, row.high]))
        colour, marker = looks[row.policy]["color"], looks[row.policy]["marker"]
        ax.vlines(row.mean_us, low, high, color=colour, lw=0.8)
        ax.plot(row.mean_us, regret, marker, color=colour, mec="black", mew=0.4)
    ax.set(xscale="log", yscale="log", title="regret by time per decision")
    ax.set(xlabel="mean time of a decision (µs)", ylabel=f"regret (%), from {st.FLOOR}")


def _over_time(link: Axes, delays: Axes, trace: pd.DataFrame, looks: dict) -> None:
    minutes = trace.groupby("window").start_s.first() / 60
    up = trace.groupby("window").up_mbit_s.first()
    link.step(minutes, up, where="post", color=st.NEUTRAL)
    link.set(title=f"a link that moves ({trace.trace.iloc[0]})", xlabel="time (minutes)")
    link.set_ylabel("wireless up (Mbit/s)")
    for policy in FOLLOWED:
        part = trace[trace.policy == policy]
        delays.plot(part.start_s / 60, part.mean_ms, **looks[policy] | {"marker": ""})
    delays.set(yscale="log", title="delay on it", xlabel="time (minutes)")
    delays.set_ylabel("mean delay (ms)")
