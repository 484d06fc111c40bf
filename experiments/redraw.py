"""Draw every figure anew from the saved tables: `make figures`. Nothing is computed again."""

from __future__ import annotations

import sys
from collections.abc import Callable

import matplotlib.pyplot as plt
import pandas as pd
from matplotlib.figure import Figure

from experiments.plots import (
    application,
    conditions,
    dependence,
    distillation,
    inference_time,
    labels,
    latency,
    other_learners,
    plan,
    problem,
    regimes,
    scale,
    style,
    teacher_and_student,
    testbed,
)
from experiments.run import Run, get_run, read_table
from experiments.studies.teacher_and_student import TABLES

CURVES = tuple(f"training_curves_{name}" for name in TABLES)


def _of_one(plot: Callable) -> Callable:
    return lambda *tables: plot(pd.concat(tables, ignore_index=True))


FIGURES = {  # name: how it is drawn, and the tables that this takes
    "example_schedule": (problem.gantt, "example_schedule"),
    "label_generation": (labels.label_generation, "label_generation"),
    "training_curves": (_of_one(teacher_and_student.training_curves), *CURVES),
    "distillation": (distillation.distillation, "distillation"),
    "dependence": (dependence.dependence, "dependence"),
    "dqn_curves": (other_learners.dqn_curves, "dqn_curves"),
    "latency": (latency.latency, "latency", "paired"),
    "accuracy": (latency.accuracy, "latency"),
    "captured": (latency.captured, "captured"),
    "staleness": (conditions.staleness, "online"),
    "tradeoff": (inference_time.tradeoff, "tradeoff"),
    "scale": (scale.scale, "scale"),
    "public_graphs": (scale.public_graphs, "public_graphs"),
    "regimes": (regimes.regimes, "regimes"),
    "application": (
        application.application,
        "application_points",
        "application_contest",
        "application_trace",
    ),
    "plan_sweep": (plan.plan_sweep, "plan_sweep"),
    "testbed": (testbed.testbed, "testbed_summary"),
}


def draw(run: Run, name: str) -> Figure:
    """One of FIGURES, from a run's tables; ValueError naming one that is missing or altered."""
    plot, *tables = FIGURES[name]
    return plot(*[read_table(run, table) for table in tables])


def main() -> None:
    """Draw all FIGURES of the reference run."""
    style.style()
    run = get_run("paper")
    try:
        for name in FIGURES:
            style.save(run, draw(run, name), name)
            plt.close("all")
    except ValueError as error:
        sys.exit(f"error: {error}")


if __name__ == "__main__":
    main()
