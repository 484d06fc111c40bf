"""Scores, intervals and timings: pure functions of numbers, with every random draw from a given generator."""

from __future__ import annotations

import time

import numpy as np
import pandas as pd

from .config import RANDOM, TRAINED, Run, progress, sha256
from .dataset import Labelled, load, scenario
from .delay import delay
from .graphs import LOCATIONS
from .learning import logits, model_path, open_model, standardise, torch_module
from .policies import LEARNED, compiled_deciders, learned, model_deciders, place, policies_for
from .sampling import STATE
from .verification import decide_batch, packed


def scores(delays, best, placements, labels) -> dict[str, float]:
    """Scores of one policy on S tasks: delays, best (S,) in s; placements, labels (S, n).

    normalised = delay / optimal delay; regret = that minus 1. Label accuracy is the share of subtasks placed
    as in the label, subset accuracy that of tasks with all right, Hamming loss 1 - label accuracy.
    """
    ratio, right = delays / best, placements == labels
    return {
        "n_test": len(best),
        "mean_delay_ms": 1e3 * delays.mean(),
        "normalised_mean": ratio.mean(),
        "normalised_median": np.median(ratio),
        "normalised_p95": np.quantile(ratio, 0.95),
        "normalised_p99": np.quantile(ratio, 0.99),
        "regret_mean": ratio.mean() - 1,
        "label_accuracy": right.mean(),
        "subset_accuracy": right.all(axis=1).mean(),
        "hamming_loss": 1 - right.mean(),
    }


def bootstrap_means(values: list[np.ndarray], resamples: int, rng: np.random.Generator) -> np.ndarray:
    """Bootstrap distributions of the mean of every array in `values`, paired: (resamples, len(values)).

    Each array is (K, S): K training seeds (1 for what is not trained) by S tasks. Tasks are resampled with
    replacement, the same draw for all arrays; seeds likewise where K > 1, the same draw for equal K. Of K seeds
    K - 1 are drawn, which makes the bootstrap's variance over seeds the unbiased one: drawing K of a few seeds
    gives intervals far too narrow.
    """
    tasks = values[0].shape[1]
    out = np.empty((resamples, len(values)))
    for r in range(resamples):
        weight = np.bincount(rng.integers(0, tasks, tasks), minlength=tasks) / tasks
        seeds = {k: rng.integers(0, k, k - 1) if k > 1 else [0] for k in sorted({len(v) for v in values})}
        for c, v in enumerate(values):
            out[r, c] = (v @ weight)[seeds[len(v)]].mean()
    return out


def interval(samples, level: float = 0.95) -> tuple[float, float]:
    """Percentile interval of bootstrap samples (R,)."""
    low, high = np.quantile(samples, [(1 - level) / 2, (1 + level) / 2])
    return float(low), float(high)


def run_policies(run: Run, name: str) -> tuple[Labelled, dict[str, list[tuple[object, np.ndarray, np.ndarray]]]]:
    """All policies on the test tasks of a scenario: policy -> [(seed or "", placements (S, n), delays (S,))]."""
    graph = scenario(name).graph
    test = load(run, name, "test")

    def decided(policy, seed="", function=None):
        x = test.placements if policy == "exact" else place(policy, graph, test.tasks, function)
        return seed, x, delay(graph, test.tasks, x)

    results = {policy: [decided(policy)] for policy in policies_for(graph)}
    if name in TRAINED:
        for role in LEARNED:
            models = [open_model(model_path(run, role, name, seed)) for seed in run.profile.seeds]
            results[role] = [decided(role, m.seed, learned(m)) for m in models]
    return test, results


def model_digests(run: Run) -> dict[str, str]:
    """Digest of every trained model of a run: what a table made with them depends on."""
    paths = [model_path(run, role, name, seed) for role in LEARNED for name in TRAINED for seed in run.profile.seeds]
    if missing := [path.name for path in paths if not path.exists()]:
        raise ValueError(f"model: {missing[0]} is missing; run notebooks 03, 04 and 04b")
    return {path.stem: sha256(path) for path in paths}


def evaluate(run: Run) -> dict[str, pd.DataFrame]:
    """The tables of decision quality, over all scenarios: latency, paired, wrong_labels, adaptation, following."""
    tables: dict[str, list] = {t: [] for t in ("latency", "paired", "wrong_labels", "adaptation", "following")}
    for name in progress((*TRAINED, *RANDOM), len(TRAINED) + len(RANDOM), "evaluation", "scenario"):
        test, results = run_policies(run, name)
        rng = np.random.default_rng([run.profile.seed, len(tables["latency"])])
        tables["latency"] += _latency_rows(name, test, results, run.profile.resamples, rng)
        if name in TRAINED:
            tables["paired"] += _paired_rows(name, test, results, run.profile.resamples, rng)
            tables["wrong_labels"] += _wrong_label_rows(name, test, results)
            tables["adaptation"] += _adaptation_rows(name, test, results)
            tables["following"] += _following_rows(name, test, results, run.profile.resamples // 5, rng)
    return {key: pd.DataFrame(rows) for key, rows in tables.items()}


def _latency_rows(name, test, results, resamples, rng):
    """A row a policy and seed; the interval is over test tasks alone, the seed being given."""
    flat = [(policy, *result) for policy, per_seed in results.items() for result in per_seed]
    means = bootstrap_means([(d / test.delays - 1)[None] for *_, d in flat], resamples, rng)
    rows = []
    for (policy, seed, x, d), sample in zip(flat, means.T):
        row = {"scenario": name, "policy": policy, "seed": seed} | scores(d, test.delays, x, test.placements)
        row["regret_ci_low"], row["regret_ci_high"] = interval(sample)
        order = list(row)
        order.insert(order.index("regret_mean") + 1, order.pop())
        order.insert(order.index("regret_mean") + 1, order.pop())
        rows.append({key: row[key] for key in order})
    return rows


OURS = {"student": "", "student_verified": "verified_"}  # whom the others are compared with, and the columns' prefix


def _paired_rows(name, test, results, resamples, rng):
    """Regret and label accuracy of every policy over seeds and tasks, and OURS minus it, resampling both."""
    regret = [np.array([d / test.delays - 1 for _, _, d in per_seed]) for per_seed in results.values()]
    right = [np.array([(x == test.placements).mean(1) for _, x, _ in per_seed]) for per_seed in results.values()]
    means = bootstrap_means(regret + right, resamples, rng)
    rows = []
    for c, policy in enumerate(results):
        row = {"scenario": name, "policy": policy, "seeds": len(regret[c])}
        for field, values, offset in (("regret", regret, 0), ("accuracy", right, len(regret))):
            low, high = interval(means[:, offset + c])
            row |= {field: values[c].mean(), f"{field}_low": low, f"{field}_high": high}
        for own, prefix in OURS.items():
            mine = list(results).index(own)
            for field, values, offset in (("regret", regret, 0), ("accuracy", right, len(regret))):
                low, high = interval(means[:, offset + mine] - means[:, offset + c])
                row |= {f"{prefix}{field}_difference": values[mine].mean() - values[c].mean()}
                row |= {f"{prefix}{field}_difference_low": low, f"{prefix}{field}_difference_high": high}
            row[f"{own}_wins"] = (regret[mine].mean(0) < regret[c].mean(0) - 1e-9).mean()
        rows.append(row)
    return rows


def _wrong_label_rows(name, test, results):
    """Regret of learned policies by the number of wrong labels in a task, all seeds together."""
    rows = []
    for policy in LEARNED:
        wrong = np.concatenate([(x != test.placements).sum(1) for _, x, _ in results[policy]])
        regret = np.concatenate([d / test.delays - 1 for *_, d in results[policy]])
        for count in np.unique(wrong):
            part = regret[wrong == count]
            row = {"scenario": name, "policy": policy, "wrong_labels": count, "share_of_tasks": len(part) / len(regret)}
            rows.append(row | {"regret_mean": part.mean(), "regret_p95": np.quantile(part, 0.95)})
    return rows


BINS = 8


def _octiles(test) -> np.ndarray:
    """In which octile of each of the eight quantities of the state a task lies: one-hot (S, 8 quantities, 8 octiles)."""
    state = test.tasks[:, -len(STATE) :]
    edges = np.quantile(state, np.arange(1, BINS) / BINS, axis=0)
    octile = np.array([np.searchsorted(edges[:, q], state[:, q], side="right") for q in range(len(STATE))]).T
    return octile[..., None] == np.arange(BINS)


def _shares(per_seed) -> np.ndarray:
    """Share of a task's subtasks at each location, mean over seeds: (S, 3)."""
    return np.mean([[(x == k).mean(1) for k in range(3)] for _, x, _ in per_seed], axis=0).T


def _adaptation_rows(name, test, results):
    """Share of subtasks at each location, by octile of each network condition and device profile."""
    inside, rows = _octiles(test), []
    for policy in ("exact", "student", "student_verified", "best_single"):
        share = _shares(results[policy])
        for q, quantity in enumerate(STATE):
            for b in range(BINS):
                part = inside[:, q, b]
                row = {"scenario": name, "quantity": quantity, "bin": b, "policy": policy}
                row["median"] = np.median(test.tasks[part, q - len(STATE)])
                rows.append(row | dict(zip(LOCATIONS, share[part].mean(0))))
    return rows


def _following_rows(name, test, results, resamples, rng):
    """How much of the optimum's movement a policy follows: 1 - |its shares - the optimum's| / |the optimum's - their mean|.

    Absolute differences are means over octiles, quantities and locations. 1 is the optimum; 0 is as far from it as
    shares that never move. The interval is 1.96 bootstrap standard deviations to either side: resampling tasks adds
    noise to absolute differences, so that percentiles would lie too low.
    """
    inside = _octiles(test).reshape(len(test.delays), -1).astype(float)  # (S, 64)
    policies = ("exact", "student", "student_verified", "best_single")
    share = np.hstack([_shares(results[p]) for p in policies])  # (S, 12)

    def followed(weight):
        mean = ((inside * weight[:, None]).T @ share) / (weight @ inside)[:, None]  # (64, 12)
        exact, overall = mean[:, :3], weight @ share[:, :3] / weight.sum()
        still = np.abs(exact - overall).mean()
        return [1 - np.abs(mean[:, 3 * i : 3 * i + 3] - exact).mean() / still for i in (1, 2, 3)]

    count = len(test.delays)
    draws = [followed(np.bincount(rng.integers(0, count, count), minlength=count)) for _ in range(resamples)]
    value, draws = followed(np.ones(count)), np.array(draws)
    rows = []
    for i, policy in enumerate(policies[1:]):
        half = 1.96 * draws[:, i].std(ddof=1)
        row = {"scenario": name, "policy": policy, "followed": value[i]}
        rows.append(row | {"ci_low": value[i] - half, "ci_high": value[i] + half})
    return rows


def time_interleaved(functions: list, inputs: list, warmup: int = 5, touch: np.ndarray | None = None) -> np.ndarray:
    """Microseconds of every function on every input: (len(functions), len(inputs)).

    All functions take turns on each input, so that whatever disturbs the machine disturbs all alike. Each
    call is preceded by an untimed one on another input, so that a function's own code and constants are
    in the cache and not what the function before it left there; with `touch`, it is preceded by a pass over that
    array instead, which leaves the caches cold.
    """
    out = np.empty((len(functions), len(inputs)))
    clock = time.perf_counter_ns
    for function in functions:
        for value in inputs[:warmup]:
            function(value)
    for s, value in enumerate(inputs):
        for f, function in enumerate(functions):
            if touch is None:
                function(inputs[s - 1])
            else:
                touch += 1
            start = clock()
            function(value)
            out[f, s] = clock() - start
    return out / 1e3


COLD_BYTES = 48 * 2**20  # touched between calls: more than a core's share of the last cache


def inference_time(run: Run) -> pd.DataFrame:
    """The table of inference delay: every policy in every runtime, batch 1, one thread, on test tasks.

    From the raw task vector to the placement; medians and p99 over tasks. over_student, over_verified: the median over that
    of `student` or `student_verified` in the same runtime, with an interval that resamples tasks, the same for both.
    cold_us: the median with caches cold, from fewer tasks, numba only.
    """
    import torch

    torch.set_num_threads(1)
    rows = []
    for name in progress(TRAINED, len(TRAINED), "timing", "scenario"):
        graph = scenario(name).graph
        tasks = list(load(run, name, "test").tasks[: run.profile.timing_inputs])
        deciders = compiled_deciders(graph)
        for role in LEARNED:
            deciders += model_deciders(open_model(model_path(run, role, name, run.profile.seeds[0])), graph)
        spent = dict(
            zip([(d.policy, d.runtime) for d in deciders], time_interleaved([d.decide for d in deciders], tasks))
        )
        compiled = [d for d in deciders if d.runtime == "numba"]
        touch = np.zeros(COLD_BYTES // 8)
        cold = time_interleaved([d.decide for d in compiled], tasks[: max(2, len(tasks) // 40)], touch=touch)
        cold = dict(zip([d.policy for d in compiled], np.median(cold, axis=1)))
        draws = np.random.default_rng(run.profile.seed).integers(0, len(tasks), (200, len(tasks)))
        for d in deciders:
            mine = spent[d.policy, d.runtime]
            row = {"scenario": name, "policy": d.policy, "runtime": d.runtime, "n_subtasks": graph.n}
            row |= {"median_us": np.median(mine), "p99_us": np.quantile(mine, 0.99)}
            row |= {"parameters": d.parameters, "macs": d.macs, "bytes": d.bytes, "mean_us": mine.mean()}
            row["cold_us"] = cold[d.policy] if d.runtime == "numba" else np.nan
            for own, column in (("student", "over_student"), ("student_verified", "over_verified")):
                if (own, d.runtime) in spent:
                    reference = spent[own, d.runtime]
                    ratios = np.median(mine[draws], axis=1) / np.median(reference[draws], axis=1)
                    row[column] = np.median(mine) / np.median(reference)
                    row[f"{column}_low"], row[f"{column}_high"] = interval(ratios)
            rows.append(row)
    return pd.DataFrame(rows)


BATCH = 8192


def throughput(run: Run, name: str = "dag", repetitions: int = 15) -> pd.DataFrame:
    """Decisions a second in batches of BATCH on one core, from task vectors to placements: policy, runtime, decisions_per_second.

    The median of `repetitions` interleaved rounds.
    """
    import torch

    torch.set_num_threads(1)
    graph, tasks = scenario(name).graph, load(run, name, "test").tasks
    tasks = np.ascontiguousarray(tasks[np.arange(BATCH) % len(tasks)])
    x, functions = np.empty((BATCH, graph.n), np.int8), {}
    for role in LEARNED:
        model = open_model(model_path(run, role, name, run.profile.seeds[0]))
        pack, net = packed(model, graph), torch_module(model)
        functions[role, "numba"] = lambda t, pack=pack: decide_batch(*pack, t, x)
        if model.hypotheses == 1:
            functions[role, "numpy"] = lambda t, model=model: logits(model, t).argmax(-1)
            functions[role, "torch"] = torch.inference_mode()(
                lambda t, model=model, net=net: net(torch.from_numpy(standardise(model, t))).argmax(-1)
            )
    spent = np.median(time_interleaved(list(functions.values()), [tasks] * repetitions, warmup=1), axis=1)
    return pd.DataFrame(
        [
            {"scenario": name, "policy": p, "runtime": r, "batch": BATCH, "decisions_per_second": BATCH / us * 1e6}
            for (p, r), us in zip(functions, spent)
        ]
    )
