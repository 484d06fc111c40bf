"""Every figure draws the reference's table, readably; its file is the same each time."""

import statistics
import warnings
from itertools import product

import matplotlib
import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest
from matplotlib.text import Text

from experiments.run import get_run, read_table
from experiments.plots import conditions
from experiments.plots import labels
from experiments.plots import learning
from experiments.plots import online
from experiments.plots import problem
from experiments.plots import quality
from experiments.plots import style
from experiments.plots import timing
from experiments.plots.scale import scale
from kd_offload.graphs import dag
from experiments.baselines import POLICIES
from kd_offload.tasks import STATE

matplotlib.use("Agg")
SAME = [problem.landscape, labels.label_shares, labels.search_tree, labels.label_generation]
SAME += [learning.training_curves, learning.distillation_grid, learning.design]
SAME += [learning.dqn_curves, timing.inference_time, timing.tradeoff]
SAME += [conditions.sweeps, conditions.label_cost, conditions.robustness]
FIGURES = {draw.__name__: draw for draw in SAME} | {
    "example_task": lambda table: problem.task_graph(dag(), table),
    "example_schedule": problem.gantt,
    "student_schedule": problem.gantt,
    "latency": lambda table: quality.latency(table, reference("paired")),
    "effective_latency": timing.effective,
}  # by table


def reference(name: str) -> pd.DataFrame:
    return read_table(get_run("paper"), name)


def check(figure) -> None:
    """All panels have something, all text is readable, and nothing stands outside."""
    figure.draw_without_rendering()
    assert all(ax.has_data() for ax in figure.axes)
    texts = [t for t in figure.findobj(Text) if t.get_visible() and t.get_text().strip()]
    assert min(t.get_fontsize() for t in texts) >= 7
    (x0, y0), (x1, y1) = figure.get_tightbbox().get_points()
    width, height = figure.get_size_inches()
    assert x0 > -0.01 and y0 > -0.01 and x1 < width + 0.01 and y1 < height + 0.01
    assert width in (style.WIDTH, style.COLUMN)


@pytest.fixture(autouse=True)
def _styled():
    with plt.rc_context(), warnings.catch_warnings():
        warnings.simplefilter("error")
        warnings.simplefilter("ignore", ResourceWarning)  # matplotlib keeps its fonts open
        style.style()
        plt.rc("figure", dpi=50)
        yield
        plt.close("all")


@pytest.mark.parametrize("name", FIGURES)
def test_a_figure_draws_its_table_and_leaves_it_as_it_is(name):
    table = reference(name)
    before = table.copy()
    check(FIGURES[name](table))
    pd.testing.assert_frame_equal(table, before)


def test_what_adapting_saves_is_drawn_by_octile():
    keys = product(("chain", "dag"), ("student", "lookahead"), STATE, range(8))
    rows = [(*key, 1e6 * (1 + key[-1]), 0.1 * key[-1]) for key in keys]
    names = ["scenario", "policy", "quantity", "bin", "median", "captured"]
    table = pd.DataFrame(rows, columns=names)
    table = table.assign(captured_low=table.captured - 0.1, captured_high=table.captured + 0.1)
    whole = table[table.bin == 0].assign(quantity="all", median=np.nan)
    check(figure := quality.captured(pd.concat([table, whole])))
    assert len(figure.axes) == 2
    assert figure.axes[0].lines[0].get_xdata() == pytest.approx(10 * np.arange(8))


def test_labels_right_are_drawn_against_regret():
    check(figure := quality.accuracy(reference("latency")))
    linear = reference("latency").query("scenario == 'dag' and policy == 'linear'")
    at = [100 * linear.label_accuracy.mean()]
    assert any(line.get_xdata() == pytest.approx(at) for line in figure.axes[1].lines)


def test_where_subtasks_go_and_how_far_the_students_are_from_the_optimum():
    check(conditions.locations(table := reference("sweeps")))
    off, places = conditions.moved(table).sort_index(), ["device", "edge", "cloud"]
    case = table[(table.scenario == "fusion") & (table.quantity == "B_up")]
    case = case[case.value == case.value.min()].set_index("policy")[places]
    expected = (case.loc["student"] - case.loc["exact"]).clip(lower=0).sum()
    student = off.sort_index().loc["fusion", "B_up"].student
    assert student.iloc[0] == pytest.approx(expected, abs=1e-5)


def test_figures_draw_what_there_is_of_scenarios():
    for name in ("label_cost", "effective_latency", "latency"):
        check(FIGURES[name](reference(name).query("scenario == 'dag'")))


def test_a_colour_has_one_meaning_and_no_two_policies_look_alike():
    places, kinds = set(style.LOCATION_COLOURS.values()), set(style.KIND_COLOURS.values())
    assert len(places) == 3 and len(kinds) == 8 and not places & kinds
    assert set(map(style.kind, POLICIES)) == set(style.KIND_COLOURS) == set(style.KIND_NAMES)
    looks = style.looks(POLICIES).values()
    assert len({(look["color"], look["ls"], look["marker"]) for look in looks}) == len(POLICIES)
    assert style.kind("exact_100") == "search" and style.kind("anygraph, 80") == "ours"


def test_a_saved_figure_says_what_made_it_and_is_the_same_each_time(fresh):
    content = []
    for _ in range(2):
        style.save(fresh, problem.landscape(reference("landscape")), "f")
        content.append({p.name: p.read_bytes() for p in fresh.figures.iterdir()})
    assert content[0] == content[1] and set(content[0]) == {"f.png", "f.pdf"}
    assert all(b"profile=tiny, seed=" in file for file in content[0].values())
    assert b"CreationDate" not in content[0]["f.pdf"]
    with pytest.raises(ValueError, match=r"figure: f is 7\.3 in wide, expected at most 7\.2"):
        style.save(fresh, style.panels(1, 1, 1, width=7.3)[0], "f")


def test_the_interval_over_seeds_is_students():
    rows = pd.DataFrame({"x": [1, 1, 1, 2, 3, 3], "y": [1.0, 2.0, 6.0, 5.0, 4.0, 4.0]})
    made = style.over_seeds(rows, "x", "y")
    half = 4.302652729911275 * statistics.stdev([1, 2, 6]) / 3**0.5  # t, two degrees of freedom
    assert made.loc[1].tolist() == pytest.approx([3 - half, 3, 3 + half])
    assert made.loc[2].tolist() == [5, 5, 5] and made.loc[3].tolist() == [4, 4, 4]


def test_drawn_values_are_the_tables():
    axes = quality.latency(reference("latency"), reference("paired")).axes
    greedy = reference("paired").query("scenario == 'fusion' and policy == 'greedy'").regret.item()
    assert any(np.array_equal(line.get_xdata(), [100 * greedy]) for line in axes[2].lines)
    assert f"{100 * greedy:.0f}\u00a0%" in [text.get_text() for text in axes[2].texts]


def test_the_online_figures_draw_the_tables():
    windows, whole = reference("online_windows"), reference("online")
    check(figure := online.online(windows))
    top, dag = figure.axes[0], figure.axes[len(windows.trace.unique()[: online.DRAWN])]
    assert top.get_title() == windows.trace.iloc[0]
    one = windows[(windows.trace == windows.trace.iloc[0]) & (windows.scenario == "dag")]
    ours = one[one.policy == "anygraph"].mean_ms
    assert any(np.array_equal(line.get_ydata(), ours) for line in dag.lines)
    check(figure := online.staleness(whole))
    alone = whole[~(whole.busy | whole.stay) & (whole.policy == "exact")]
    first = alone[(alone.scenario == "dag") & (alone.trace == windows.trace.iloc[0])]
    drawn = [line.get_ydata() for line in figure.axes[0].lines]
    assert any(np.array_equal(y, 100 * first.excess) for y in drawn)


def test_scale_draws_the_table_and_its_title_is_the_lead():
    policies = {"best_single": (3, 0.4), "lookahead": (5, 0.3), "split": (9, 0.2)}
    policies |= {"lookahead_mended": (40, 0.07), "local_search_3": (300, 0.1)}
    policies |= {"lookahead_joins": (12, 0.15), "beam_8": (70, 0.04)}
    policies |= {"exact_300": (20, 0.1), "exact_1000": (400, 0.02), "exact": (50_000, 0.0)}
    policies |= {"anygraph": (90, 0.03), "anygraph_80": (100, 0.01)}
    rows = [(n, p, us, 2 * us, r) for n in (12, 40, 64, 100) for p, (us, r) in policies.items()]
    rows += [(n, "anygraph", 110, 200, 0.01) for n in (12, 40, 64, 100)]
    names = ["n_subtasks", "policy", "median_us", "p99_us", "regret_mean"]
    table = pd.DataFrame(rows, columns=names)
    ends = {"regret_ci_low": table.regret_mean / 2, "regret_ci_high": 2 * table.regret_mean}
    over = table.median_us / 100
    ends |= {"over_any": over, "over_any_low": over / 2, "over_any_high": 3 * over}
    check(figure := scale(table.assign(**ends)))
    titles = [f"{n} subtasks: × 4 [2, 12]" for n in (40, 64, 100)]
    assert [ax.get_title() for ax in figure.axes] == titles
    drawn = [line.get_xydata().tolist() for line in figure.axes[2].lines]
    assert [[100, 2]] in drawn and [[12, 15], [70, 4]] in drawn and [[20, 10], [400, 2]] in drawn
    assert any([3, 40] in points for points in drawn)
    none = table.assign(**ends).query("policy != 'exact' and policy != 'exact_1000'")
    assert scale(none).axes[0].get_title() == "40 subtasks: × ∞"
