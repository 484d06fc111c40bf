"""Figures of the problem, the labels, the training and distillation draw their tables, readably."""

from itertools import product

import numpy as np
import pandas as pd
import pytest

from experiments.plots import dependence, distillation, labels, problem, teacher_and_student
from experiments.studies.problem import example_schedule
from kd_offload.graphs import dag
from kd_offload.tasks import sample_tasks

from .reading import drawn, title

GRAPH = dag()
TASK = sample_tasks(GRAPH, 1, np.random.default_rng(3))[0]


def speed() -> pd.DataFrame:
    rows = []
    for n, method in product((4, 8, 32), labels.METHODS):
        for scenario in (f"random_{n}_0", f"random_{n}_1", "dag"):
            if n <= 24 or method == "branch_and_bound":
                us = 2.0**n
                rows.append((scenario, method, n, 1, 1e6 / us, us, 3 * us, 9 * us))
    columns = ["scenario", "method", "n_subtasks", "workers", "samples_per_second"]
    table = pd.DataFrame(rows, columns=[*columns, "p50_us", "p99_us", "worst_us"])
    return table[(table.scenario != "dag") | (table.n_subtasks == 8)]


def curves() -> pd.DataFrame:
    keys = product(teacher_and_student.ROLES, ("dag", "fusion"), (0, 1), (10, 20))
    table = pd.DataFrame(list(keys), columns=["role", "scenario", "seed", "step"])
    return table.assign(label_accuracy=0.8 + 0.1 * table.seed + 0.001 * table.step)


def students() -> pd.DataFrame:
    """Two numbers of labels; at the first, two widths, and maps."""
    networks = ("teacher", "plain", "distilled", "unlabelled")
    keys = [("labels", n, count, 64, 2.0, 0.5) for count in (500, 4000) for n in networks]
    keys += [("width", n, 500, 32, 2.0, 0.5) for n in ("plain", "distilled")]
    keys += [("half the steps", n, 500, 64, 2.0, 0.5) for n in ("plain", "distilled")]
    keys += [("temperature and mix", "distilled", 500, 64, 1.0, 0.5)]
    columns = ["study", "network", "labels", "width", "temperature", "mix"]
    table = pd.DataFrame(keys, columns=columns).assign(dependence="chain")
    table = pd.concat([table.assign(scenario=name) for name in ("chain", "dag", "fusion")])
    table = table[(table.study != "temperature and mix") | (table.scenario != "chain")]
    table["regret"] = 20 / table.labels + 0.001 * table.temperature
    table["difference"] = np.where(table.labels == 500, -0.02, 0.001)
    significant = (table.labels == 500) & (table.study == "labels")
    table["p_holm"] = np.where(significant, 0.01, 1.0)
    table.loc[table.network.isin(["teacher", "plain"]), "p_holm"] = np.nan
    return table.assign(regret_low=0.9 * table.regret, regret_high=1.1 * table.regret)


def networks() -> pd.DataFrame:
    sizes = [("chain", 500), ("chain", 900), ("independent", 600), ("independent", 90_000)]
    keys = [(name, *size, seed) for name in ("dag", "fusion") for size in sizes for seed in (0, 1)]
    table = pd.DataFrame(keys, columns=["scenario", "dependence", "parameters", "seed"])
    table["regret_mean"] = 20 / table.parameters * (1 + 0.2 * table.seed)
    return table.assign(time_us=table.parameters / 1000)


FIGURES = {
    "gantt": (problem.gantt, lambda: example_schedule(GRAPH, TASK, ["exact", "greedy"])),
    "speed": (labels.label_generation, speed),
    "curves": (teacher_and_student.training_curves, curves),
    "students": (distillation.distillation, students),
    "networks": (dependence.dependence, networks),
}


@pytest.mark.parametrize("name", FIGURES)
def test_a_figure_is_readable_and_leaves_its_table_as_it_is(name):
    draw, make = FIGURES[name]
    drawn(draw, make())


def test_titles_are_of_all_training_seeds():
    text = title(teacher_and_student.training_curves(curves()))
    assert text.startswith("The teacher ends at 13.0 % wrong labels, its student at 13.0 %")


def test_drawn_values_are_the_tables():
    figure = distillation.distillation(students())
    text = "A teacher significantly lowers the mean regret in 6 of 20 settings; its mean change is"
    assert title(figure) == f"{text} −2.00 points with 500 labels and +0.10 with 4,000"
    assert figure.axes[0].lines[0].get_ydata() == pytest.approx([4.2, 0.7])
    assert [cell.get_text() for cell in figure.axes[4].texts] == ["4.1", "4.2"]
    figure = dependence.dependence(networks())
    text = "On fusion, a chain of 500 parameters has a mean regret of 4.4 %, an independent network"
    assert title(figure) == f"{text} of 90,000 one of 0.024 %"
    assert figure.axes[0].lines[0].get_ydata() == pytest.approx([4.4, 22 / 9])
    assert figure.axes[3].lines[1].get_xdata() == pytest.approx([0.6, 90])
    events = example_schedule(GRAPH, TASK, ["exact", "greedy"])
    ends = [ax.lines[0].get_xdata()[0] for ax in problem.gantt(events).axes]
    assert ends == pytest.approx(events.groupby("policy").delay_ms.first()[["exact", "greedy"]])
    figure = labels.label_generation(speed())
    assert [*figure.axes[1].lines[0].get_xdata()] == [4, 8, 32]
    assert figure.axes[1].lines[2].get_ydata()[1] == pytest.approx(9 * 2**8 / 1e3)
