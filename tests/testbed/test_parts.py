"""The testbed's parts, without processes: pacing, estimates, verdicts, the figure."""

import ast
from dataclasses import replace

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest

from experiments.run import PACKAGE, Run
from anygraph.network import open_network
from experiments.plots import style
from experiments.plots.testbed import layer_times as layer_figure
from experiments.plots.testbed import testbed as drawn
from kd_offload.model import open_model
from experiments.baselines import ANY, open_trained
from experiments.testbed.costs import comparison, fitted, kind, layer_times, measured
from experiments.testbed.device import DOWN, Known
from experiments.testbed.judge import agreement, summary
from experiments.testbed.layers import NETWORKS, RATES, SCALE, layers
from experiments.testbed.link import Rate
from experiments.testbed.testbed import SHOWN, states
from experiments.scenarios import scenario
from experiments.scenarios.networks import BUILDERS, cut
from experiments.studies.traces import UPLINKS, walk
from kd_offload.tasks import MBIT


def test_a_transfer_waits_out_an_outage():
    rate = Rate([100.0, 0.0, 50.0], [0.0, 2.0, 5.0], start=10.0)
    assert rate.when(10.0, 150) == pytest.approx(11.5)
    assert rate.when(11.0, 100) == pytest.approx(12.0)
    assert rate.when(11.0, 150) == pytest.approx(16.0)  # 100 before, 50 after the outage
    assert rate.when(13.0, 50) == pytest.approx(16.0)
    assert rate.when(20.0, 50) == pytest.approx(21.0)
    assert Rate([100.0, 0.0], [0.0, 1.0]).when(0.5, 100) == np.inf


def test_a_link_is_found_exactly_and_the_newest_transfers_count_most():
    known = Known()
    assert known.links()[0].tolist() == [DOWN] * 4
    sent = [[2, size, 0.01 + size / 1e5] for size in (512, 512, 20_000)]
    known.add({"transfers": sent, "runs": []})
    assert np.array(known.links())[:, 2] == pytest.approx([1e5, 0.01])
    sent = [[2, size, 0.02 + size / 4e5] for size in (512, 20_000) * 60]
    known.add({"transfers": sent, "runs": []})
    assert np.array(known.links())[:, 2] == pytest.approx([4e5, 0.02], rel=1e-2)
    assert known.down() == {0, 1, 3}


def test_what_was_never_seen_is_down_and_speeds_weigh_cycles():
    known = Known()
    assert known.down() == {0, 1, 2, 3}
    some = [[link, size, 0.01 + size / 1e5] for link in (0, 1, 2, 3) for size in (512, 20_000)]
    known.add({"transfers": some, "runs": [[1, 1e9, 1.0], [1, 1e3, 1e-3]]})
    assert known.down() == set()
    assert known.state()[1] == pytest.approx(1e9, rel=2e-3)
    assert known.state()[3:] == pytest.approx([1e5, 1e5, 1e5, 0.01, 0.01])


def test_small_tasks_have_the_delays_of_full_ones():
    """All but the classifier and its result, which are the same at either size."""
    for name in NETWORKS:
        net, full = layers(name), scenario(f"networks_{name}").workload
        ratio = full / net.workload
        last = [net.graph.n - 1, -1]
        assert ratio[last] == pytest.approx(1)
        assert np.delete(ratio, last) == pytest.approx(SCALE)
        state = states(1, 0)[0]
        assert (net.full(state)[-8:] == state * RATES).all()


@pytest.mark.parametrize("name", UPLINKS)
def test_outages_have_the_statistics_that_they_are_named_for(name):
    times, rate = walk(np.random.default_rng(3), 100_000.0, UPLINKS[name])
    mean, _, down = name.split("_")
    assert rate.mean() / MBIT == pytest.approx(float(mean), rel=0.08)
    assert (rate == 0).mean() == pytest.approx(float(down) / 100, rel=0.15)
    up = np.log(np.where(rate > 0, rate, np.nan))
    up, lag = up - np.nanmean(up), round(10 / (times[1] - times[0]))
    kept = np.nanmean(up[lag:] * up[:-lag]) / np.nanmean(up**2)
    assert kept == pytest.approx(np.exp(-1), abs=0.05)


def table(noise=0.0, lost=False):
    rng, rows = np.random.default_rng(1), []
    for task in range(20):
        for k, policy in enumerate(SHOWN):
            predicted = 0.1 * (1 + min(k, 3))
            measured = predicted * 1.02 * (1 + noise * rng.uniform(-1, 1))
            measured = np.nan if lost and task == 3 and k == 0 else measured
            rows.append(("resnet18", policy, task, task, predicted, measured, 100.0, "user"))
    names = "network policy task seed predicted_s measured_s decision_us mode"
    return pd.DataFrame(rows, columns=names.split())


def test_agreement_counts_pairs_of_different_placements():
    assert agreement(np.array([1.0, 2, 3]), np.array([1.0, 2, 3])) == 1
    assert agreement(np.array([1.0, 2, 3]), np.array([3.0, 2, 1])) == -1
    assert agreement(np.array([1.0, 1, 2]), np.array([2.0, 1, 3])) == 1
    assert agreement(np.array([1.0, 2, 3]), np.array([2.0, 1, 3])) == pytest.approx(1 / 3)
    assert np.isnan(agreement(np.ones(3), np.ones(3)))


def test_the_summary_says_what_the_table_has():
    rng = np.random.default_rng(0)
    known = summary(table(lost=True), 50, rng).set_index("policy")
    every = known.loc["all"]
    assert (every.tasks, every.lost, every.tau) == (19, 1, 1)
    assert known.error_median.to_numpy() == pytest.approx(0.02)
    assert known.regret_mean["all_device"] == pytest.approx(0)
    assert known.regret_mean["anygraph"] == pytest.approx(3) == known.regret_mean["lookahead"]
    assert known.decision_share["all_device"] == pytest.approx(1e-4 / 0.102)


def test_placements_that_are_the_same_share_their_delay():
    """Noise alone must not tell apart policies that decided the same."""
    known = summary(table(noise=0.01), 50, np.random.default_rng(0)).set_index("policy")
    same = known.regret_mean[["lookahead", "student", "anygraph"]]
    assert np.ptp(same) < 1e-12 and known.error_median["student"] != known.error_median["lookahead"]


def test_the_figure_draws_each_mode():
    both = pd.concat([table(0.1), table(0.2).assign(mode="tc")])
    with plt.rc_context():
        style.style()
        figure = drawn(both, summary(both, 20, np.random.default_rng(0)))
        figure.draw_without_rendering()
        assert len(figure.axes) == 3 and all(ax.has_data() for ax in figure.axes)
        points = [line for line in figure.axes[0].lines if len(line.get_xdata()) == 20]
        assert len(points) == len(SHOWN)
        plt.close("all")


@pytest.mark.parametrize("opened", [open_model, open_network])
def test_a_crafted_model_file_is_refused(opened, tmp_path):
    class Trap:
        def __reduce__(self):
            return (open, (str(tmp_path / "sprung"), "w"))

    names = ("format", "about", "role", "flat", "mean", "deviation")
    np.savez(tmp_path / "model.npz", **{n: np.array([Trap()], dtype=object) for n in names})
    with pytest.raises(ValueError):
        open_trained(tmp_path / "model.npz")
    assert not (tmp_path / "sprung").exists()


def test_nothing_in_the_package_unpickles():
    for path in PACKAGE.rglob("*.py"):
        tree = ast.parse(path.read_text())
        for node in ast.walk(tree):
            if isinstance(node, ast.Import | ast.ImportFrom):
                names = {alias.name for alias in node.names} | {getattr(node, "module", None)}
                assert not names & {"pickle", "cloudpickle", "dill", "shelve", "marshal"}, path
            if isinstance(node, ast.Call) and ast.unparse(node.func) in ("np.load", "torch.load"):
                given = {k.arg: ast.unparse(k.value) for k in node.keywords}
                safe = given.get("allow_pickle") == "False" or given.get("weights_only") == "True"
                assert safe, path


def costs(seconds=(0.1, 0.2, 0.4)) -> pd.DataFrame:
    """Times of AlexNet's first subtasks as if it had only these; ONNX Runtime twice as quick."""
    _, workload = cut("alexnet")
    table = pd.DataFrame({"network": "alexnet", "subtask": np.arange(1, 9)})
    table["kind"] = ["convolution"] * 5 + ["dense"] * 3
    table["counted_cycles"] = workload[:8]
    table["torch_ms"] = 1e3 * np.resize(seconds, 8)
    return table.assign(onnxruntime_ms=table.torch_ms / 2)


def test_kinds_of_layers():
    kinds = {name: [kind(block) for block, _ in BUILDERS[name]()] for name in BUILDERS}
    assert kinds["alexnet"] == ["convolution"] * 5 + ["dense"] * 3
    assert kinds["mobilenetv2"] == ["convolution", *["depthwise"] * 7, "convolution", "dense"]


def test_fits_are_exact_where_time_follows_operations():
    times = costs()
    times["torch_ms"] = times.counted_cycles / np.where(times.kind == "dense", 1e6, 4e6)
    found = fitted(times).set_index(["runtime", "kind"]).loc["torch"]
    assert found.cycles_a_second["convolution"] == pytest.approx(4e9)
    assert found.cycles_a_second["dense"] == pytest.approx(1e9)
    assert found.error_worst[["convolution", "dense"]].max() < 1e-9
    middle = 4e9 ** (5 / 8) * 1e9 ** (3 / 8)  # five of one kind, three of the other
    assert found.cycles_a_second["all"] == pytest.approx(middle)
    assert found.error_worst["all"] == pytest.approx(middle / 1e9 - 1)


def test_measured_costs_keep_the_total_and_the_bytes():
    times, counted = costs(), scenario("networks_alexnet")
    for runtime in ("torch", "onnxruntime"):
        found = measured("alexnet", times, runtime)
        assert found.graph == counted.graph
        assert found.workload[:8].sum() == pytest.approx(counted.workload[:8].sum())
        assert found.workload[:3] / found.workload[0] == pytest.approx([1, 2, 4])
        assert (found.workload[8:] == counted.workload[8:]).all()


def test_layers_are_measured_and_compared(tiny, tmp_path, monkeypatch):
    run = Run(replace(tiny.profile, networks_train=100), tmp_path)
    one = {"mobilenetv2": BUILDERS["mobilenetv2"]}
    monkeypatch.setattr("experiments.testbed.costs.BUILDERS", one)
    times = layer_times(run)
    assert times.columns[3:].tolist() == ["counted_cycles", "torch_ms", "onnxruntime_ms"]
    assert len(times) == 10 and (times[["torch_ms", "onnxruntime_ms"]] > 0).all(axis=None)
    monkeypatch.setenv("KD_WORKERS", "1")  # in this process, where the network can be lent
    monkeypatch.setattr(
        "experiments.testbed.costs.opened", lambda *_: open_trained(tiny, ANY, "dag", 0)
    )
    found = comparison(run, times)
    assert found.costs.unique().tolist() == ["counted", "torch", "onnxruntime"]
    assert not found.duplicated(["network", "costs", "policy"]).any()
    assert (found.regret >= -1e-9).all() and found.one_location.between(0, 1).all()
    plt.close(layer_figure(times, fitted(times)))
