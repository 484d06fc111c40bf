"""How good decisions are: every policy on the same test tasks, in four tables."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import pandas as pd

from experiments.run import Run
from kd_offload.data import load
from kd_offload.delay import delay
from kd_offload.labels import Labelled
from experiments.parallel import progress
from experiments.baselines import (
    OURS,
    POLICIES,
    as_policy,
    open_trained,
    placements_of,
    policies_for,
    seeds_of,
)
from experiments.scenarios import RANDOM, SHOWN, TRAINED, scenario
from experiments.studies import statistics
from experiments.studies.captured import FOLLOWED, TRIED, best_fixed, captured_rows
from experiments.studies.conditions import generator
from experiments.studies.statistics import bootstrap_means, bounded, interval

FEW = 20  # cases below which an interval would say nothing
QUANTILES = {"normalised_median": 0.5, "normalised_p95": 0.95, "normalised_p99": 0.99}
BOOTSTRAPPED = ("mean_delay_ms", "label_accuracy", "subset_accuracy", "normalised_mean")


class Decisions(NamedTuple):
    """What a policy, trained with one seed, decides for S tasks of n subtasks."""

    seed: int | str  # "" for what is not trained
    placements: np.ndarray  # int8 (S, n)
    delays: np.ndarray  # float64 (S,) s


Results = dict[str, list[Decisions]]  # by policy, one a seed


def run_policies(run: Run, name: str) -> tuple[Labelled, Results]:
    """The test tasks of a scenario, and all policies' decisions for them.

    Raises ValueError naming a model or saved decisions that are missing.
    """
    graph, test = scenario(name).graph, load(run, name, "test")

    def decisions(policy, seed="", function=None):
        x = (
            test.placements
            if policy == "exact"
            else placements_of(policy, graph, test.tasks, function)
        )
        return Decisions(seed, x, delay(graph, test.tasks, x))

    def trained(policy, seed):
        if policy.role:
            return as_policy(open_trained(run, policy.name, name, seed))
        saved = policy.decided(run, name, seed)
        return lambda graph, tasks: saved

    results = {policy: [decisions(policy)] for policy in policies_for(graph)}
    for key, policy in POLICIES.items():
        if name in policy.scenarios:
            seeds = seeds_of(run, key)
            results[key] = [decisions(key, s, trained(policy, s)) for s in seeds]
    return test, results


def evaluate(run: Run) -> dict[str, pd.DataFrame]:
    """All scenarios' tables of decision quality, by name.

    latency (scores by policy and seed), paired (ours against every baseline), wrong_labels (what they
    cost), captured (how much of what adapting can save is saved, by condition).
    """
    tables = {t: [] for t in ("latency", "paired", "wrong_labels", "captured")}
    names, resamples = (*TRAINED, *RANDOM), run.profile.resamples
    for name in progress(names, len(names), "evaluation", "scenario"):
        test, results = run_policies(run, name)
        rng = generator(run, name)
        tables["latency"] += latency_rows(name, test, results, resamples, rng)
        if name in TRAINED:
            few = resamples // 5
            tables["paired"] += paired_rows(name, test, results, resamples, rng)
            tables["wrong_labels"] += _wrong_label_rows(name, test, results, few, rng)
        if name in SHOWN:
            graph, train = scenario(name).graph, load(run, name, "train").tasks[:TRIED]
            still = np.tile(best_fixed(graph, train), (len(test.delays), 1))
            fixed = delay(graph, test.tasks, still)
            delays = {p: np.array([d for *_, d in results[p]]) for p in FOLLOWED}
            tables["captured"] += captured_rows(name, test, fixed, delays, resamples // 2, rng)
    return {key: pd.DataFrame(rows) for key, rows in tables.items()}


def _measured(test: Labelled, per_policy: list[list[Decisions]]) -> dict[str, list[np.ndarray]]:
    """Of every task: field -> an array (K seeds, S tasks) a policy."""
    right = [np.array([x == test.placements for _, x, _ in r]) for r in per_policy]
    delays = [np.array([d for *_, d in r]) for r in per_policy]
    return {
        "regret": [d / test.delays - 1 for d in delays],
        "delay_ms": [1e3 * d for d in delays],
        "accuracy": [r.mean(2) for r in right],
        "subset": [r.all(2) for r in right],
    }


def _drawn(measured, resamples, rng) -> dict[str, np.ndarray]:
    """Bootstrap distributions of all means, by the same draws: field -> (resamples, policies)."""
    means = bootstrap_means([v for values in measured.values() for v in values], resamples, rng)
    return dict(zip(measured, np.split(means, len(measured), axis=1)))


def latency_rows(name, test: Labelled, results: Results, resamples: int, rng) -> list[dict]:
    """A row of scores for every policy and seed; intervals are over test tasks, for that seed.

    normalised = delay / optimal delay; regret = that minus 1. Label accuracy is the share of
    subtasks placed as in the label, subset accuracy that of tasks with all right, Hamming loss 1 -
    label accuracy. Intervals of means are from a bootstrap, the same resamples for all; those of
    quantiles from order statistics.
    """
    flat = [(policy, one) for policy, per_seed in results.items() for one in per_seed]
    draws = _drawn(_measured(test, [[one] for _, one in flat]), resamples, rng)
    regret, delay_ms, accuracy, subset = (interval(sample).T for sample in draws.values())
    rows = []
    for i, (policy, (seed, x, d)) in enumerate(flat):
        ratio, right = d / test.delays, x == test.placements
        row = {"scenario": name, "policy": policy, "seed": seed, "n_test": len(d)}
        row |= {"mean_delay_ms": 1e3 * d.mean(), "normalised_mean": ratio.mean()}
        row |= {field: np.quantile(ratio, q) for field, q in QUANTILES.items()}
        row |= {"regret_mean": ratio.mean() - 1}
        row |= {"regret_ci_low": regret[i, 0], "regret_ci_high": regret[i, 1]}
        row |= {"label_accuracy": right.mean(), "subset_accuracy": right.all(axis=1).mean()}
        row["hamming_loss"] = 1 - right.mean()
        ends = [delay_ms[i], accuracy[i], subset[i], 1 + regret[i]]
        ends += [*statistics.quantile_intervals(ratio, QUANTILES.values())]
        for field, pair in zip((*BOOTSTRAPPED, *QUANTILES), ends):
            row |= bounded(field, row[field], pair)
        rows.append(row)
    return rows


def paired_rows(name, test: Labelled, results: Results, resamples: int, rng) -> list[dict]:
    """A row for every policy: its regret, label accuracy and delay, and each of OURS minus it.

    Seeds and tasks are resampled both. `against_all` has more of OURS minus a baseline's regret.
    _wins: the share of tasks where ours has less regret, mean over seeds.
    """
    measured, policies = _measured(test, [*results.values()]), list(results)
    measured = {field: measured[field] for field in ("regret", "accuracy", "delay_ms")}
    draws, regret = _drawn(measured, resamples, rng), measured["regret"]
    value = {field: np.array([v.mean() for v in values]) for field, values in measured.items()}
    table = {"scenario": name, "policy": policies, "seeds": [len(r) for r in results.values()]}
    for field, sample in draws.items():
        table |= bounded(field, value[field], interval(sample))
    for own, prefix in OURS.items():
        mine = policies.index(own)
        for field, sample in draws.items():
            difference = value[field][mine] - value[field]
            ends = interval(sample[:, [mine]] - sample)
            table |= bounded(f"{prefix}{field}_difference", difference, ends)
        table[f"{own}_wins"] = [(regret[mine].mean(0) < r.mean(0) - 1e-9).mean() for r in regret]
        family = against_all(regret, draws["regret"], mine)
        table |= {f"{prefix}{key}": column for key, column in family.items()}
    return pd.DataFrame(table).to_dict("records")


def against_all(regret: list, draws: np.ndarray, mine: int) -> dict[str, np.ndarray]:
    """One policy's regret and all others', one family: column -> a number a policy, nan its own.

    regret: (K, S) a policy, K seeds by the same S tasks; draws (R, policies), from
    `bootstrap_means`. Columns: regret_difference_all_low and _high (95 % for the whole family,
    wider where few seeds tell the variance), and over tasks, means over seeds, effect_superiority
    and effect_d (positive: less regret than the baseline).
    """
    own, baselines = regret[mine], [c for c in range(len(regret)) if c != mine]
    estimates = np.array([own.mean() - regret[c].mean() for c in baselines])
    samples, freedom = draws[:, [mine]] - draws[:, baselines], []
    for c, variance in zip(baselines, samples.var(axis=0)):
        paired = len(regret[c]) == len(own)
        groups = [(own - regret[c]).mean(1)] if paired else [own.mean(1), regret[c].mean(1)]
        freedom.append(statistics.effective_freedom(groups, variance))
    low, high = statistics.simultaneous_intervals(estimates, samples, np.array(freedom))
    gains = [regret[c].mean(0) - own.mean(0) for c in baselines]
    columns = {"regret_difference_all_low": low, "regret_difference_all_high": high}
    columns["effect_superiority"] = [statistics.superiority(g) for g in gains]
    columns["effect_d"] = [statistics.cohens_d_paired(g) for g in gains]
    return {key: np.insert(np.asarray(c, dtype=float), mine, np.nan) for key, c in columns.items()}


def _wrong_label_rows(name, test, results, resamples, rng):
    """Regret of what is trained by the number of wrong labels in a task, all seeds together.

    Intervals are over tasks and seeds; that of the regret is nan for fewer than FEW cases.
    """
    rows = []
    for policy in (p for p in results if POLICIES[p].scenarios):
        wrong = np.array([(x != test.placements).sum(1) for _, x, _ in results[policy]])  # (K, S)
        regret = np.array([d / test.delays - 1 for *_, d in results[policy]])
        counts = np.unique(wrong)
        there = [1.0 * (wrong == count) for count in counts]
        draws = bootstrap_means([*there, *(regret * here for here in there)], resamples, rng)
        for count, share, cost in zip(counts, *np.split(draws.T, 2)):
            part, drawn = regret[wrong == count], share > 0
            row = {"scenario": name, "policy": policy, "wrong_labels": count}
            row["share_low"], row["share_high"] = interval(share)
            ends = interval(cost[drawn] / share[drawn]) if part.size >= FEW else (np.nan, np.nan)
            row["regret_low"], row["regret_high"] = ends
            row |= {"share_of_tasks": part.size / regret.size, "regret_mean": part.mean()}
            rows.append(row | {"regret_p95": np.quantile(part, 0.95)})
    return rows
