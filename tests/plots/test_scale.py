"""The figures of scale draw their tables; titles are the leads; what a user registers is there."""

import pandas as pd
import pytest

from experiments.plots.scale import public_graphs, scale

POLICIES = {  # mean time in microseconds, mean regret
    "best_single": (3, 0.4), "lookahead": (5, 0.3), "split": (9, 0.2),
    "lookahead_mended": (40, 0.07), "local_search_3": (300, 0.1),
    "lookahead_joins": (12, 0.15), "beam_8": (70, 0.04), "mine": (8, 0.35),
    "exact_300": (20, 0.1), "exact_1000": (400, 0.02), "exact_300000": (50_000, 0.0),
    "beam_8_proved": (85, 0.035), "network_proved": (80, 0.025), "best_first_3000": (500, 0.05),
    "anygraph": (90, 0.03), "anygraph_4": (100, 0.01),
}  # fmt: skip


@pytest.fixture
def table() -> pd.DataFrame:
    rows = [(n, p, us, r) for n in (12, 40, 64, 100) for p, (us, r) in POLICIES.items()]
    rows += [(n, "anygraph", 110, 0.01) for n in (12, 40, 64, 100)]
    table = pd.DataFrame(rows, columns=["n_subtasks", "policy", "mean_us", "regret_mean"])
    over = table.mean_us / 100
    return table.assign(
        regret_ci_low=table.regret_mean / 2,
        regret_ci_high=2 * table.regret_mean,
        proven_share=12 / table.n_subtasks,
        over_any=over,
        over_any_low=over / 2,
        over_any_high=3 * over,
    )


def test_scale_draws_the_table_and_its_title_is_the_lead(table):
    figure = scale(table)
    figure.draw_without_rendering()
    titles = [f"{n} subtasks: × 4 [2, 12]" for n in (40, 64, 100)]
    assert [ax.get_title() for ax in figure.axes] == [*titles, "regret", "time", "proof"]
    last = figure.axes[2]
    drawn = {line.get_label(): line.get_xydata().tolist() for line in last.lines}
    assert drawn["beam search"] == [[12, 15], [70, 4]]
    assert drawn["exact search, stopped"][:2] == [[20, 10], [400, 2]]
    assert drawn["beam search, improved and proved"] == [[85, pytest.approx(3.5)]]
    assert drawn["exact search, other orders"] == [[500, 5]]
    assert [100, 2] in drawn["anygraph, growing effort"]
    assert [3, 40] in drawn["heuristics"] and drawn["mine"] == [[8, 35]]
    assert "mine" in [text.get_text() for text in figure.legends[0].get_texts()]
    own = [ax.lines[0].get_ydata() for ax in figure.axes[3:]]
    assert own[0] == pytest.approx([2] * 4) and own[1] == pytest.approx([100] * 4)
    assert own[2] == pytest.approx([100, 30, 18.75, 12])


def test_where_no_baseline_is_as_good_the_title_says_so(table):
    none = table[~table.policy.isin(["exact_300000", "exact_1000"])]
    figure = scale(none)
    assert figure.axes[0].get_title() == "40 subtasks"
    title = figure.get_suptitle().replace("\n", " ")
    assert title == "No baseline is as good as anygraph at 40, 64 or 100 subtasks"
    table.loc[table.n_subtasks == 40, "policy"] = table.policy.replace("exact_300000", "other")
    part = table[(table.n_subtasks == 40) | ~table.policy.isin(["exact_300000", "exact_1000"])]
    title = scale(part).get_suptitle().replace("\n", " ")
    assert title.endswith("at 40, the quickest baseline as good takes 4 times as long")


def test_public_graphs_name_everyone_and_leave_merged_graphs_out():
    rows = [
        ("a", p, "" if p != "anygraph" else 0, us, r, merged)
        for p, (us, r) in POLICIES.items()
        for merged in (False, True)
    ]
    table = pd.DataFrame(
        rows, columns=["graph", "policy", "seed", "mean_us", "regret_mean", "merged"]
    )
    table.loc[table.merged, "regret_mean"] += 5
    figure = public_graphs(table)
    figure.draw_without_rendering()
    (ax,) = figure.axes
    assert {text.get_text() for text in ax.texts} == set(POLICIES)
    drawn = [tuple(point) for line in ax.lines for point in line.get_xydata()]
    assert (90, pytest.approx(3)) in drawn and (8, pytest.approx(35)) in drawn
    assert "On 1 graphs that others published, anygraph has 3" in figure.get_suptitle()
