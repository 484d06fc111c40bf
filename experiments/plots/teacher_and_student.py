"""Curves of training."""

from __future__ import annotations

import pandas as pd
from matplotlib.figure import Figure

from experiments.plots import style as st

ROLES = {
    "teacher": "teacher",
    "student": "student",
    "student_plain": "student without teacher",
    "student_independent": "student, independent labels",
}


def training_curves(curves: pd.DataFrame) -> Figure:
    """Wrong labels of validation tasks by step; lines and bands: mean and 95 % interval over seeds.

    Parameters
    ----------
    curves : pandas.DataFrame
        role, scenario, seed, step, label_accuracy.
    """
    curves = curves[curves.scenario.isin(st.SHOWN)]
    curves = curves.assign(wrong=100 * (1 - curves.label_accuracy))
    labels, options = ("step", "wrong labels (%)"), {"sharey": True, "log": "y"}
    fig, row = st.by_scenario(curves, 2.7, *labels, **options)
    for ax, part in row:
        for role, name in ROLES.items():
            rows = part[part.role == role]
            means = st.over_seeds(rows, "step", "wrong")
            means["low"] = means.low.clip(lower=means["mean"].min() / 2)
            dashes = "--" if role == "student_independent" else "-"
            st.line(ax, means.index, means, {"color": st.colour(role), "ls": dashes}, name)
        ax.locator_params(axis="x", nbins=4)
    last = curves.groupby(["role", "scenario", "seed"], sort=False).wrong.last()
    end = last.groupby("role").mean()
    text = f"The teacher ends at {end.teacher:.1f} % wrong labels, its student at"
    text += f" {end.student:.1f} % and the same student without a teacher at"
    text += f" {end.student_plain:.1f} %, on average; with independent labels it ends at"
    text += f" {end.student_independent:.1f} %"
    return st.message(st.finish(fig), text)
