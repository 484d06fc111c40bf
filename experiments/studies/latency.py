"""How good decisions are: every policy on the same test tasks.

Four tables: `latency` scores each policy, `paired` compares ours with every other, `captured` says
how much of what adapting can save each saves, and `budgets` what each was given.
Regret is a decision's delay over the least delay, minus 1.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from typing import NamedTuple

import numpy as np
import pandas as pd
from scipy import stats

from anygraph import decide
from anygraph.fast import LANES
from experiments.baselines import (
    ANY,
    OURS,
    POLICIES,
    STOPPED,
    as_policy,
    open_trained,
    placements_of,
    policies_for,
    seeds_of,
)
from experiments.baselines.decisions import saved_decisions
from experiments.baselines.dqn import DqnConfig
from experiments.baselines.local_search import local_search
from experiments.baselines.lookahead import lookahead_mended_evaluations
from experiments.baselines.student_mended import mended_evaluations
from experiments.parallel import progress
from experiments.run import Run, generator, load, read_table
from experiments.scenarios import RANDOM, SHOWN, TRAINED, scenario
from experiments.studies.statistics import (
    bootstrap_means,
    bounded,
    cohens_d_paired,
    effective_freedom,
    interval,
    simultaneous_intervals,
    superiority,
)
from experiments.studies.teacher_and_student import training_curves
from kd_offload.data import sha256
from kd_offload.delay import delay
from kd_offload.graphs import TaskGraph
from kd_offload.labels import Labelled, search
from kd_offload.tasks import STATE

# The policies that this artifact compares. Where a table or a figure shows a choice of them, it
# shows in addition every policy that is registered besides these.
COMPARED = frozenset(
    "all_device all_edge all_cloud random greedy heft best_single local_search_1 local_search_3 "
    "split lookahead lookahead_mended lookahead_joins beam_8 beam_64 exact_stopped chain_dp exact "
    "random_forest boosting dqn linear teacher student student_plain student_costs student_mended "
    "teacher_independent student_independent anygraph".split()
)
# Whose captured share is shown.
FOLLOWED = ("student", "student_independent", "anygraph", "best_single", "lookahead")
BINS = 8  # of each quantity of the state
FIXED_ON = 2000  # training tasks that a fixed placement is chosen on

FLAT = 0.05  # a cost is flat if it fell by less than this share of itself in the last fifth
COUNTED = 500  # test tasks on which the evaluations of a decision are counted
BEAMS = {"lookahead_joins": 1, "beam_8": 8, "beam_64": 64}  # width of each
# Delay evaluations of an episode of DQN: its own, the pass backwards that its rewards need, and
# those of the three single locations, which scale the rewards.
EPISODE = 5


class Decisions(NamedTuple):
    """What a policy, trained with one seed, decides for S tasks of n subtasks."""

    seed: int | str
    """"" for a policy that is not trained."""
    placements: np.ndarray
    """int8 (S, n)."""
    delays: np.ndarray
    """float64 (S,), s."""


Results = dict[str, list[Decisions]]  # by policy, one for each training seed


def with_added(chosen: Iterable[str], policies: Iterable[str]) -> list[str]:
    """The `chosen` ones of some policies, then those registered besides the artifact's own."""
    present = list(dict.fromkeys(policies))
    listed = [policy for policy in chosen if policy in present]
    return listed + [p for p in present if p in POLICIES and p not in COMPARED and p not in listed]


def decide_all(run: Run, name: str) -> tuple[Labelled, Results]:
    """The test tasks of a scenario, and all policies' decisions for them.

    Raises
    ------
    ValueError
        Naming a model or saved decisions that are missing.
    """
    graph = scenario(name).graph
    test = load(run, name, "test")
    results: Results = {}
    for policy in policies_for(graph):
        if policy == "exact":
            placements = test.placements
        else:
            placements = placements_of(policy, graph, test.tasks)
        results[policy] = [Decisions("", placements, delay(graph, test.tasks, placements))]
    for policy in POLICIES.values():
        seeds = seeds_of(run, policy.name)
        if name not in policy.scenarios or not seeds:
            continue
        results[policy.name] = []
        for seed in seeds:
            if policy.saved == "network":
                function = as_policy(open_trained(run, policy.name, name, seed))
                placements = placements_of(policy.name, graph, test.tasks, function)
            else:
                placements = saved_decisions(run, policy.name, name, seed)
            delays = delay(graph, test.tasks, placements)
            results[policy.name].append(Decisions(seed, placements, delays))
    return test, results


def evaluate(run: Run, names: tuple[str, ...] = (*TRAINED, *RANDOM)) -> dict[str, pd.DataFrame]:
    """The tables `latency` (of all scenarios `names`), `paired` (of those with trained networks)
    and `captured` (of those shown), by name."""
    latency, paired, captured = [], [], []
    resamples = run.profile.resamples
    for name in progress(names, len(names), "evaluation", "scenario"):
        test, results = decide_all(run, name)
        rng = generator(run, name)
        latency += latency_rows(name, test, results, resamples, rng)
        if name in TRAINED:
            paired += paired_rows(name, test, results, resamples, rng)
        if name in SHOWN:
            graph = scenario(name).graph
            placement = best_fixed(graph, load(run, name, "train").tasks[:FIXED_ON])
            fixed = delay(graph, test.tasks, np.tile(placement, (len(test.tasks), 1)))
            captured += captured_rows(name, test, fixed, results, resamples // 2, rng)
    return {
        "latency": pd.DataFrame(latency),
        "paired": pd.DataFrame(paired),
        "captured": pd.DataFrame(captured),
    }


def latency_rows(
    name: str, test: Labelled, results: Results, resamples: int, rng: np.random.Generator
) -> list[dict]:
    """Scores of every policy and training seed; intervals are over test tasks, for that seed.

    Normalised delay is delay over the least delay. Label accuracy is the share of subtasks placed
    as in the label, subset accuracy that of tasks with all right, Hamming loss 1 - label accuracy.

    Returns
    -------
    list of dict
        Columns scenario, policy, seed, n_test, mean_delay_ms, normalised_mean, normalised_p99,
        regret_mean, regret_ci_low, regret_ci_high, label_accuracy, subset_accuracy, hamming_loss.
    """
    flat = [(policy, decisions) for policy, by_seed in results.items() for decisions in by_seed]
    normalised = [decisions.delays / test.delays for _, decisions in flat]
    means = bootstrap_means([values[None] - 1 for values in normalised], resamples, rng)
    lows, highs = interval(means)
    rows = []
    for (policy, decisions), values, low, high in zip(flat, normalised, lows, highs):
        right = decisions.placements == test.placements
        row = {
            "scenario": name,
            "policy": policy,
            "seed": decisions.seed,
            "n_test": len(values),
            "mean_delay_ms": 1e3 * decisions.delays.mean(),
            "normalised_mean": values.mean(),
            "normalised_p99": np.quantile(values, 0.99),
            "regret_mean": values.mean() - 1,
            "regret_ci_low": low,
            "regret_ci_high": high,
            "label_accuracy": right.mean(),
            "subset_accuracy": right.all(axis=1).mean(),
            "hamming_loss": 1 - right.mean(),
        }
        rows.append(row)
    return rows


def paired_rows(
    name: str, test: Labelled, results: Results, resamples: int, rng: np.random.Generator
) -> list[dict]:
    """Every policy's mean regret and label accuracy, and each of OURS minus it, on the same tasks.

    Intervals are from a bootstrap over test tasks and training seeds.

    Returns
    -------
    list of dict
        Columns scenario, policy, seeds, regret and accuracy with _low and _high; then, of each of
        OURS with its prefix, delay_ms_difference and what `against_all` returns.
    """
    policies = list(results)
    regret, accuracy, mean_ms = [], [], []
    for by_seed in results.values():
        regret.append(np.array([one.delays / test.delays - 1 for one in by_seed]))
        right = np.array([one.placements == test.placements for one in by_seed])
        accuracy.append(right.mean(axis=2))
        mean_ms.append(1e3 * np.mean([one.delays for one in by_seed]))
    draws = bootstrap_means([*regret, *accuracy], resamples, rng)
    regret_draws, accuracy_draws = np.split(draws, 2, axis=1)
    table = {"scenario": name, "policy": policies, "seeds": [len(r) for r in regret]}
    table |= bounded("regret", [r.mean() for r in regret], interval(regret_draws))
    table |= bounded("accuracy", [a.mean() for a in accuracy], interval(accuracy_draws))
    for ours, prefix in OURS.items():
        own = policies.index(ours)
        columns = {"delay_ms_difference": mean_ms[own] - np.array(mean_ms)}
        columns |= against_all(regret, regret_draws, own)
        table |= {f"{prefix}{column}": values for column, values in columns.items()}
    return pd.DataFrame(table).to_dict("records")


def against_all(regret: list[np.ndarray], draws: np.ndarray, own: int) -> dict[str, np.ndarray]:
    """One policy's regret minus every other's, with intervals that hold for all of them together.

    Parameters
    ----------
    regret : list of numpy.ndarray of float64, shape (K, S)
        Of each policy, for its K seeds on the same S tasks.
    draws : numpy.ndarray of float64, shape (R, policies)
        From `bootstrap_means`.
    own : int
        The policy's position in the list.

    Returns
    -------
    dict of str to numpy.ndarray, shape (policies,)
        regret_difference; regret_difference_all_low and _high, wider where few seeds tell the
        variance; regret_difference_low and _high, of each pair alone, by Student's t;
        effect_superiority and effect_d over tasks, positive where our policy has less regret. All
        but the first are nan at the policy itself.
    """
    others = [c for c in range(len(regret)) if c != own]
    means = np.array([r.mean() for r in regret])
    difference = means[own] - means
    samples = draws[:, [own]] - draws[:, others]
    freedom, dominance, d = [], [], []
    for c, variance in zip(others, samples.var(axis=0)):
        if len(regret[c]) == len(regret[own]):  # the same seeds were drawn for both
            groups = [(regret[own] - regret[c]).mean(axis=1)]
        else:
            groups = [regret[own].mean(axis=1), regret[c].mean(axis=1)]
        freedom.append(effective_freedom(groups, variance))
        gains = regret[c].mean(axis=0) - regret[own].mean(axis=0)
        dominance.append(superiority(gains))
        d.append(cohens_d_paired(gains))
    low, high = simultaneous_intervals(difference[others], samples, np.array(freedom))
    columns = {"regret_difference_all_low": low, "regret_difference_all_high": high}
    half = stats.t.ppf(0.975, freedom) * samples.std(axis=0)
    columns |= {"regret_difference_low": difference[others] - half}
    columns |= {"regret_difference_high": difference[others] + half}
    columns |= {"effect_superiority": dominance, "effect_d": d}
    filled = {column: np.insert(values, own, np.nan) for column, values in columns.items()}
    return {"regret_difference": difference} | filled


def best_fixed(graph: TaskGraph, tasks: np.ndarray) -> np.ndarray:
    """The one placement, int8 (n,), with the least mean delay over tasks (S, F).

    A search from each single location: one subtask, or some that are consecutive in the order, go
    to another location while that lowers the mean. It ends where no such move helps.
    """

    def mean_delay(placement):
        return delay(graph, tasks, np.tile(placement, (len(tasks), 1))).mean()

    moves = []
    for first in range(graph.n):
        for end in range(first + 1, graph.n + 1):
            moves += [(first, end, location) for location in range(3)]
    best, least_of_all = None, np.inf
    for start in range(3):
        placement = np.full(graph.n, start, np.int8)
        least = mean_delay(placement)
        improved = True
        while improved:
            improved = False
            for first, end, location in moves:
                candidate = placement.copy()
                candidate[first:end] = location
                mean = mean_delay(candidate)
                if mean < least * (1 - 1e-12):
                    placement, least, improved = candidate, mean, True
        if least < least_of_all:
            best, least_of_all = placement, least
    return best


class Cell(NamedTuple):
    """The tasks in one octile of one quantity of the state, or all tasks."""

    quantity: str
    bin: int
    inside: np.ndarray
    """bool (S,)."""
    median: float
    """Of the quantity, in SI units."""


def cells(tasks: np.ndarray) -> list[Cell]:
    """All octiles of all quantities of the state of tasks (S, F), then the cell of all tasks."""
    found = []
    for quantity, values in zip(STATE, tasks[:, -len(STATE) :].T):
        edges = np.quantile(values, np.arange(1, BINS) / BINS)
        octile = np.searchsorted(edges, values, side="right")
        for number in range(BINS):
            inside = octile == number
            found.append(Cell(quantity, number, inside, np.median(values[inside])))
    return [*found, Cell("all", 0, np.ones(len(tasks), bool), np.nan)]


def captured_rows(
    name: str, test: Labelled, fixed: np.ndarray, results: Results, resamples: int, rng
) -> list[dict]:
    """The share of the attainable delay that policies capture, in octiles of the state.

    Attainable is the best fixed placement's mean delay minus the least; captured the part of it by
    which a policy is below the fixed placement. Intervals are over test tasks and training seeds,
    and hold for all octiles of a policy together, as if they shared no tasks.

    Parameters: fixed (S,), the delays of the fixed placement, in s.
    Columns: scenario, policy, quantity, bin, median, tasks, attainable_ms, captured and its ends.
    """
    places = cells(test.tasks)
    attainable = (fixed - test.delays)[None]
    saved = {
        policy: fixed - np.array([decisions.delays for decisions in results[policy]])
        for policy in with_added(FOLLOWED, results)
    }  # by policy (K, S)
    draws = np.empty((resamples, len(places), len(saved)))
    for c, cell in enumerate(places):
        parts = [values[:, cell.inside] for values in (*saved.values(), attainable)]
        means = bootstrap_means(parts, resamples, rng)
        draws[:, c] = means[:, :-1] / means[:, -1:]
    rows = []
    for p, (policy, values) in enumerate(saved.items()):
        by_seed = [
            values[:, cell.inside].sum(axis=1) / attainable[0, cell.inside].sum() for cell in places
        ]
        share = np.mean(by_seed, axis=1)
        samples = draws[:, :, p]
        variances = samples.var(axis=0)
        freedom = [effective_freedom([s], v) for s, v in zip(by_seed, variances)]
        lows, highs = simultaneous_intervals(share, samples, np.array(freedom))
        for cell, value, low, high in zip(places, share, lows, highs):
            row = {"scenario": name, "policy": policy, "quantity": cell.quantity, "bin": cell.bin}
            row |= {"median": cell.median, "tasks": int(cell.inside.sum())}
            row |= {"attainable_ms": 1e3 * attainable[0, cell.inside].mean()}
            rows.append(row | bounded("captured", value, (low, high)))
    return rows


def budgets(run: Run) -> pd.DataFrame:
    """What each policy was given on each scenario, and whether more would have helped.

    Returns
    -------
    pandas.DataFrame
        scenario, policy; then, as means over training seeds: labels that it learned from; steps of
        its optimiser, a forest's trees or boosting's iterations; training_evaluations of the delay
        model in whole graphs, that its labels took or its episodes; deciding_evaluations of one
        decision, a mean over test tasks; seconds of one CPU for the training alone; converged, see
        `converged`, with every seed. Empty: not counted, or nothing of the kind.
    """
    trained = _of_classifiers(run) | _of_dqn(run) | _of_networks(run) | _of_anygraph(run)
    nothing = {"labels": 0, "steps": 0, "training_evaluations": 0, "seconds": 0}
    rows = []
    for name in TRAINED:
        deciding = deciding_evaluations(run, name)
        for policy in POLICIES.values():
            if policy.saved:
                given = trained.get((name, policy.network_of or policy.name), {})
            else:
                given = nothing
            if policy.saved and name not in policy.scenarios:
                continue
            if not policy.applies(scenario(name).graph):
                continue
            row = {"scenario": name, "policy": policy.name}
            for column in ("labels", "steps", "training_evaluations"):
                row[column] = given.get(column)
            row["deciding_evaluations"] = deciding.get(policy.name)
            row["seconds"] = given.get("seconds")
            row["converged"] = given.get("converged")
            rows.append(row)
    return pd.DataFrame(rows)


def converged(costs) -> bool | None:
    """Whether a held-out cost, by points of training, has become flat.

    It fell by less than FLAT of itself over the last fifth. Each end is a mean over a tenth of the
    points, at least one. None for fewer than five points.
    """
    costs = np.asarray(costs, float)
    count = len(costs)
    if count < 5:
        return None
    tenth = max(1, count // 10)
    start = count - round(count / 5)
    before, last = costs[start - tenth : start].mean(), costs[-tenth:].mean()
    return bool(before - last < FLAT * before)


def _all_converged(curves: Iterable) -> bool | None:
    """Whether the costs of all seeds have become flat; None where one has too few points."""
    flat = [converged(costs) for costs in curves]
    return None if None in flat else all(flat)


def _beside(run: Run, policy: str, name: str) -> list[dict]:
    """What was written beside the networks of all seeds when they were trained."""
    paths = [run.model_path(policy, name, seed) for seed in seeds_of(run, policy)]
    return [json.loads(path.with_suffix(".json").read_text(encoding="utf-8")) for path in paths]


def _search_evaluations(train: Labelled, labels: float) -> float:
    """Evaluations that so many exact labels took: a node of the search is one subtask run."""
    return labels * train.nodes.mean() / train.placements.shape[1]


def _of_networks(run: Run) -> dict[tuple[str, str], dict]:
    """Teacher and students. Raises ValueError for one that was trained on other data."""
    given = {}
    for (name, role), points in training_curves(run).groupby(["scenario", "role"]):
        train = load(run, name, "train")
        beside = _beside(run, role, name)
        if any(about["data"]["train"] != sha256(run.data_path(name, "train")) for about in beside):
            raise ValueError(f"model: {role} was trained on other data of {name}; train it anew")
        given[name, role] = {
            "labels": len(train.tasks),
            "steps": np.mean([about["recipe"]["steps"] for about in beside]),
            "training_evaluations": _search_evaluations(train, len(train.tasks)),
            "seconds": np.mean([about["training_seconds"] for about in beside]),
            "converged": _all_converged(c.validation_loss for _, c in points.groupby("seed")),
        }
    return given


def _of_anygraph(run: Run) -> dict[tuple[str, str], dict]:
    """anygraph, one network for all scenarios; the evaluations of its training are not counted."""
    beside = _beside(run, ANY, "")
    config = beside[0]["training"]
    curves = [
        [point["objective"] for point in about["curve"] if point["stage"] == "delay"]
        for about in beside
    ]
    given = {
        "labels": config["graphs"] // 4 * LANES,  # as `training.Trainer` draws them
        "steps": config["imitation_steps"] + config["delay_steps"],
        "seconds": np.mean([about["training_seconds"] for about in beside]),
        "converged": _all_converged(curves),
    }
    return {(name, ANY): given for name in TRAINED}


def _of_classifiers(run: Run) -> dict[tuple[str, str], dict]:
    """The linear classifier, converged where its solver ended by itself; forests and boosting."""
    given = {}
    for (name, role), rows in read_table(run, "classifiers").groupby(["scenario", "role"]):
        settings = json.loads(rows.settings.iloc[0])
        labels = rows.labels.mean()
        ended = rows.converged.dropna()
        given[name, role] = {
            "labels": labels,
            "steps": settings.get("n_estimators", settings.get("max_iter")),
            "training_evaluations": _search_evaluations(load(run, name, "train"), labels),
            "seconds": rows.training_seconds.mean(),
            "converged": bool(ended.all()) if len(ended) else None,
        }
    return given


def _of_dqn(run: Run) -> dict[tuple[str, str], dict]:
    """DQN with its largest budget; its cost is the regret on validation tasks."""
    given = {}
    for name, rows in read_table(run, "dqn_curves").groupby("scenario"):
        largest = rows.budget.max()
        curves = [curve for _, curve in rows[rows.budget == largest].groupby("seed")]
        episodes = np.mean([curve.delay_evaluations.max() for curve in curves])
        given[name, "dqn"] = {
            "labels": 0,
            "steps": DqnConfig(int(largest)).updates(scenario(name).graph.n),
            "training_evaluations": EPISODE * episodes,
            "seconds": np.mean([curve.training_seconds.iloc[0] for curve in curves]),
            "converged": _all_converged(curve.regret_mean for curve in curves),
        }
    return given


def deciding_evaluations(run: Run, name: str) -> dict[str, float]:
    """Runs of the delay model in a decision, by policy; a subtask run counts 1/n.

    0 for what asks no delay model; a policy that is not the artifact's own is left out.
    """
    graph, n = scenario(name).graph, scenario(name).graph.n
    test = Labelled(*(part[:COUNTED] for part in load(run, name, "test")))
    counts = dict.fromkeys(COMPARED, 0.0)
    counts |= {"greedy": 3, "best_single": 3, "split": (n + 1) * (n + 2) / 2}
    counts["lookahead"] = 4  # each subtask at three locations, and a pass backwards
    for policy, width in BEAMS.items():
        prefixes = sum(min(3**depth, width) for depth in range(n))
        counts[policy] = 1 + 3 * prefixes / n
    for starts in (1, 3):
        found = local_search(graph, test.tasks, starts)
        counts[f"local_search_{starts}"] = found.evaluations.mean()
    counts["exact"] = test.nodes.mean() / n
    counts["exact_stopped"] = search(graph, test.tasks, STOPPED).nodes.mean() / n
    counts["lookahead_mended"] = lookahead_mended_evaluations(graph, test.tasks)
    model = open_trained(run, ANY, name, seeds_of(run, ANY)[0])
    counts[ANY] = decide(model, graph, test.tasks).evaluations.mean()
    mended = open_trained(run, "student_mended", name, run.profile.seeds[0])
    counts[mended.role] = mended_evaluations(mended, graph, test.tasks)
    return counts
