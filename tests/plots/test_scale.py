"""The figure of scale draws its table, its title is the lead; what a user registers is in it."""

import pandas as pd
import pytest

from experiments.plots.scale import scale


@pytest.fixture
def table() -> pd.DataFrame:
    policies = {"best_single": (3, 0.4), "lookahead": (5, 0.3), "split": (9, 0.2)}
    policies |= {"lookahead_mended": (40, 0.07), "local_search_3": (300, 0.1)}
    policies |= {"lookahead_joins": (12, 0.15), "beam_8": (70, 0.04), "mine": (8, 0.35)}
    policies |= {"exact_300": (20, 0.1), "exact_1000": (400, 0.02), "exact": (50_000, 0.0)}
    policies |= {"anygraph": (90, 0.03), "anygraph_80": (100, 0.01)}
    rows = [(n, p, us, 2 * us, r) for n in (12, 40, 64, 100) for p, (us, r) in policies.items()]
    rows += [(n, "anygraph", 110, 200, 0.01) for n in (12, 40, 64, 100)]
    names = ["n_subtasks", "policy", "mean_us", "p99_us", "regret_mean"]
    table = pd.DataFrame(rows, columns=names)
    over = table.mean_us / 100
    return table.assign(
        regret_ci_low=table.regret_mean / 2,
        regret_ci_high=2 * table.regret_mean,
        over_any=over,
        over_any_low=over / 2,
        over_any_high=3 * over,
    )


def test_scale_draws_the_table_and_its_title_is_the_lead(table):
    figure = scale(table)
    figure.draw_without_rendering()
    titles = [f"{n} subtasks: × 4 [2, 12]" for n in (40, 64, 100)]
    assert [ax.get_title() for ax in figure.axes] == titles
    last = figure.axes[2]
    drawn = {line.get_label(): line.get_xydata().tolist() for line in last.lines}
    assert drawn["beam search"] == [[12, 15], [70, 4]]
    assert drawn["exact search, stopped"][:2] == [[20, 10], [400, 2]]
    assert [100, 2] in drawn["anygraph, growing budgets"]
    assert [3, 40] in drawn["heuristics"] and drawn["mine"] == [[8, 35]]
    assert "mine" in [text.get_text() for text in figure.legends[0].get_texts()]


def test_no_baseline_that_is_as_good_is_an_infinite_lead(table):
    none = table[~table.policy.isin(["exact", "exact_1000"])]
    assert scale(none).axes[0].get_title() == "40 subtasks: × ∞"
