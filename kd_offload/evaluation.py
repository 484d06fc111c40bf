"""Scores and timings of every policy on the same tasks, with every random draw from a given generator."""

from __future__ import annotations

import hashlib
import time

import numpy as np
import pandas as pd

from .config import RANDOM, TRAINED, Run, progress, sha256
from .dataset import Labelled, load, scenario
from .delay import delay
from .environment import agent_deciders
from .graphs import LOCATIONS
from .learning import in_parallel, logits, model_path, open_model, standardise, torch_module
from .policies import LEARNED, Decider, compiled_deciders, learned, model_deciders, place, policies_for
from .sampling import STATE
from .statistics import (
    bootstrap_means,
    bootstrap_p,
    cohens_d_paired,
    effective_freedom,
    holm,
    interval,
    quantile_intervals,
    simultaneous_intervals,
    superiority,
)
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


SHOWN = ("chain", "dag", "fusion")


def _classified(run, role, name, seed):
    from .classifiers import decisions  # scikit-learn takes long to import

    return decisions(run, role, name, seed)


def _reinforced(run, role, name, seed):
    from .environment import dqn_decisions  # so does gymnasium

    return dqn_decisions(run, name, seed)


# Policies whose decisions on the test tasks were made where they were trained, and saved: the scenarios they are
# trained for, and what reads them: (run, policy, scenario, seed) -> int8 (S, n), ValueError if the file is missing.
DECIDED = {
    "random_forest": (TRAINED, _classified),
    "boosting": (TRAINED, _classified),
    "dqn": (SHOWN, _reinforced),
}


def run_policies(run: Run, name: str) -> tuple[Labelled, dict[str, list[tuple[object, np.ndarray, np.ndarray]]]]:
    """All policies on the test tasks of a scenario: policy -> [(seed or "", placements (S, n), delays (S,))].

    Raises ValueError naming a model or saved decisions that are missing.
    """
    graph = scenario(name).graph
    test = load(run, name, "test")

    def decided(policy, seed="", function=None):
        x = test.placements if policy == "exact" else place(policy, graph, test.tasks, function)
        return seed, x, delay(graph, test.tasks, x)

    results = {policy: [decided(policy)] for policy in policies_for(graph)}
    for policy, (names, read) in DECIDED.items():
        if name in names:
            saved = {seed: read(run, policy, name, seed) for seed in run.profile.seeds}
            results[policy] = [decided(policy, seed, lambda graph, tasks, x=x: x) for seed, x in saved.items()]
    if name in TRAINED:
        for role in LEARNED:
            models = [open_model(model_path(run, role, name, seed)) for seed in run.profile.seeds]
            results[role] = [decided(role, m.seed, learned(m)) for m in models]
    return test, results


def model_digests(run: Run) -> dict[str, str]:
    """Digest of every trained model of a run, and of all saved decisions: what a table made with them depends on."""
    paths = [model_path(run, role, name, seed) for role in LEARNED for name in TRAINED for seed in run.profile.seeds]
    if missing := [path.name for path in paths if not path.exists()]:
        raise ValueError(f"model: {missing[0]} is missing; run notebooks 03, 04 and 04b")
    digests = {path.stem: sha256(path) for path in paths}
    for policy, (names, read) in DECIDED.items():
        for name in names:
            for seed in run.profile.seeds:
                x = np.ascontiguousarray(read(run, policy, name, seed))
                digests[f"{policy}_{name}_{seed}"] = hashlib.sha256(x.tobytes()).hexdigest()
    return digests


def evaluate(run: Run) -> dict[str, pd.DataFrame]:
    """The tables of decision quality, over all scenarios: latency, paired, wrong_labels, adaptation, following."""
    tables: dict[str, list] = {t: [] for t in ("latency", "paired", "wrong_labels", "adaptation", "following")}
    names = (*TRAINED, *RANDOM)
    for number, name in enumerate(progress(names, len(names), "evaluation", "scenario")):
        test, results = run_policies(run, name)
        rng = np.random.default_rng([run.profile.seed, number])
        tables["latency"] += _latency_rows(name, test, results, run.profile.resamples, rng)
        if name in TRAINED:
            tables["paired"] += paired_rows(name, test, results, run.profile.resamples, rng)
            tables["wrong_labels"] += _wrong_label_rows(name, test, results, run.profile.resamples // 5, rng)
            tables["adaptation"] += _adaptation_rows(name, test, results)
            tables["following"] += _following_rows(name, test, results, run.profile.resamples // 5, rng)
    return {key: pd.DataFrame(rows) for key, rows in tables.items()}


QUANTILES = {"normalised_median": 0.5, "normalised_p95": 0.95, "normalised_p99": 0.99}


def _latency_rows(name, test, results, resamples, rng):
    """A row a policy and seed; intervals are over test tasks alone, the seed being given.

    Those of means from a bootstrap, the same resamples for all; those of quantiles from order statistics.
    """
    flat = [(policy, *result) for policy, per_seed in results.items() for result in per_seed]
    measured = {
        "regret_ci": [d / test.delays - 1 for *_, d in flat],
        "mean_delay_ms": [1e3 * d for *_, d in flat],
        "label_accuracy": [(x == test.placements).mean(1) for *_, x, _ in flat],
        "subset_accuracy": [(x == test.placements).all(1) for *_, x, _ in flat],
    }
    means = bootstrap_means([v[None] for field in measured.values() for v in field], resamples, rng)
    draws = dict(zip(measured, np.split(means, len(measured), axis=1)))
    rows = []
    for i, (policy, seed, x, d) in enumerate(flat):
        row = {"scenario": name, "policy": policy, "seed": seed} | scores(d, test.delays, x, test.placements)
        ends = {field: interval(sample[:, i]) for field, sample in draws.items()}
        ends["normalised_mean"] = tuple(1 + end for end in ends["regret_ci"])
        ends |= zip(QUANTILES, quantile_intervals(d / test.delays, QUANTILES.values()))
        for field, (low, high) in ends.items():
            row |= {f"{field}_low": low, f"{field}_high": high}
        keys = [key for key in row if not key.startswith("regret_ci")]
        after = keys.index("regret_mean") + 1
        keys[after:after] = ["regret_ci_low", "regret_ci_high"]
        rows.append({key: row[key] for key in keys})
    return rows


OURS = {"student": "", "student_verified": "verified_"}  # whom the others are compared with, and the columns' prefix


def paired_rows(name, test, results, resamples, rng):
    """Regret, label accuracy and delay of every policy over seeds and tasks, and OURS minus it, resampling both.

    On the regret of one of OURS minus each rival's besides: `_all_` intervals, which hold for all rivals of a scenario
    together; p-values, and Holm's for all rivals; effect sizes over tasks (means over seeds), positive where ours is better.
    """
    measured = {
        "regret": [np.array([d / test.delays - 1 for *_, d in per_seed]) for per_seed in results.values()],
        "accuracy": [np.array([(x == test.placements).mean(1) for _, x, _ in s]) for s in results.values()],
        "delay_ms": [np.array([1e3 * d for *_, d in per_seed]) for per_seed in results.values()],
    }
    means = bootstrap_means([v for values in measured.values() for v in values], resamples, rng)
    draws = dict(zip(measured, np.split(means, len(measured), axis=1)))
    value = {field: np.array([v.mean() for v in values]) for field, values in measured.items()}
    table = {"scenario": name, "policy": list(results), "seeds": [len(per_seed) for per_seed in results.values()]}
    for field, sample in draws.items():
        table |= _with_ends(field, value[field], *np.quantile(sample, [0.025, 0.975], axis=0))
    for own, prefix in OURS.items():
        mine = list(results).index(own)
        for field, sample in draws.items():
            ends = np.quantile(sample[:, [mine]] - sample, [0.025, 0.975], axis=0)
            table |= _with_ends(f"{prefix}{field}_difference", value[field][mine] - value[field], *ends)
        regret = measured["regret"]
        table[f"{own}_wins"] = [(regret[mine].mean(0) < r.mean(0) - 1e-9).mean() for r in regret]
        table |= {f"{prefix}{key}": column for key, column in against_all(regret, draws["regret"], mine).items()}
    return pd.DataFrame(table).to_dict("records")


def _with_ends(field, value, low, high) -> dict:
    return {field: value, f"{field}_low": low, f"{field}_high": high}


def against_all(regret: list[np.ndarray], draws: np.ndarray, mine: int) -> dict[str, np.ndarray]:
    """One policy's regret against that of all others, taken as one family: column -> one number a policy, nan for itself.

    regret: (K, S) a policy, K seeds by the same S tasks; draws (R, policies), from `bootstrap_means`. Columns:
    regret_difference_all_low and _high (95 % for the whole family, wider where few seeds tell the variance), regret_p,
    regret_p_holm, effect_superiority and effect_d (positive: less regret than the rival).
    """
    own, rivals = regret[mine], [c for c in range(len(regret)) if c != mine]
    estimates = np.array([own.mean() - regret[c].mean() for c in rivals])
    samples = draws[:, [mine]] - draws[:, rivals]
    freedom = []
    for c, variance in zip(rivals, samples.var(axis=0)):
        paired = len(regret[c]) == len(own)
        groups = [(own - regret[c]).mean(1)] if paired else [own.mean(1), regret[c].mean(1)]
        freedom.append(effective_freedom(groups, variance))
    low, high = simultaneous_intervals(estimates, samples, np.array(freedom))
    p = bootstrap_p(samples)
    gains = [regret[c].mean(0) - own.mean(0) for c in rivals]
    columns = {
        "regret_difference_all_low": low,
        "regret_difference_all_high": high,
        "regret_p": p,
        "regret_p_holm": holm(p),
        "effect_superiority": [superiority(g) for g in gains],
        "effect_d": [cohens_d_paired(g) for g in gains],
    }
    return {key: np.insert(np.asarray(column, dtype=float), mine, np.nan) for key, column in columns.items()}


FEW = 20  # cases below which an interval would say nothing


def _wrong_label_rows(name, test, results, resamples, rng):
    """Regret of learned policies by the number of wrong labels in a task, all seeds together; intervals over tasks and seeds."""
    rows = []
    for policy in (p for p in (*DECIDED, *LEARNED) if p in results):
        wrong = np.array([(x != test.placements).sum(1) for _, x, _ in results[policy]])  # (K, S)
        regret = np.array([d / test.delays - 1 for *_, d in results[policy]])
        counts = np.unique(wrong)
        there = [1.0 * (wrong == count) for count in counts]
        draws = bootstrap_means([*there, *(regret * here for here in there)], resamples, rng)
        share, cost = np.split(draws, 2, axis=1)
        for c, count in enumerate(counts):
            part, drawn = regret[wrong == count], share[:, c] > 0
            row = {"scenario": name, "policy": policy, "wrong_labels": count}
            row |= _with_ends("share", part.size / regret.size, *interval(share[:, c]))
            ends = interval(cost[drawn, c] / share[drawn, c]) if part.size >= FEW else (np.nan, np.nan)
            row |= _with_ends("regret", part.mean(), *ends)
            row["share_of_tasks"], row["regret_mean"] = row.pop("share"), row.pop("regret")
            rows.append(row | {"regret_p95": np.quantile(part, 0.95)})
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
    """Share of subtasks at each location, by octile of each network condition and device profile.

    Its 95 % interval is the normal one of a mean over test tasks: each octile has thousands.
    """
    inside, rows = _octiles(test), []
    for policy in ("exact", "student", "student_verified", "best_single"):
        share = _shares(results[policy])
        for q, quantity in enumerate(STATE):
            for b in range(BINS):
                part = inside[:, q, b]
                row = {"scenario": name, "quantity": quantity, "bin": b, "policy": policy}
                row["median"] = np.median(test.tasks[part, q - len(STATE)])
                here = share[part]
                half = 1.96 * here.std(axis=0) / np.sqrt(len(here))
                for k, location in enumerate(LOCATIONS):
                    row |= _with_ends(
                        location, here[:, k].mean(), here[:, k].mean() - half[k], here[:, k].mean() + half[k]
                    )
                rows.append(row)
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


def _slow_deciders(run: Run, name: str) -> list[tuple]:
    """Fields of the deciders of scikit-learn's ensembles, grown again: deciding one task takes them milliseconds."""
    from .classifiers import boosting_decider, fit_forest, forest_decider, grow

    graph, seed = scenario(name).graph, run.profile.seeds[0]
    return [
        forest_decider(graph, fit_forest(run, name, seed)),
        boosting_decider(graph, grow(run, "boosting", name, seed)),
    ]


def inference_time(run: Run) -> pd.DataFrame:
    """The table of inference delay: every policy in every runtime, batch 1, one thread, on test tasks.

    From the raw task vector to the placement; medians and p99 over tasks, with intervals from order statistics. over_student, over_verified: the median over that
    of `student` or `student_verified` in the same runtime, with an interval that resamples tasks, the same for both.
    cold_us: the median with caches cold, from fewer tasks, numba only. n_timed: how many tasks; few for policies that take
    milliseconds.
    """
    import torch

    torch.set_num_threads(1)
    rows, slow = (
        [],
        dict(zip(SHOWN, in_parallel(_slow_deciders, [(run, name) for name in SHOWN], "classifiers to time"))),
    )
    for name in progress(TRAINED, len(TRAINED), "timing", "scenario"):
        graph = scenario(name).graph
        tasks = list(load(run, name, "test").tasks[: run.profile.timing_inputs])
        deciders = compiled_deciders(graph)
        for role in LEARNED:
            deciders += model_deciders(open_model(model_path(run, role, name, run.profile.seeds[0])), graph)
        spent = dict(
            zip([(d.policy, d.runtime) for d in deciders], time_interleaved([d.decide for d in deciders], tasks))
        )
        unhurried = [Decider(*d) for d in (*agent_deciders(graph), *slow[name])] if name in slow else []
        few = tasks[: max(2, len(tasks) // 40)]
        spent |= dict(
            zip([(d.policy, d.runtime) for d in unhurried], time_interleaved([d.decide for d in unhurried], few, 1))
        )
        compiled = [d for d in deciders if d.runtime == "numba"]
        touch = np.zeros(COLD_BYTES // 8)
        cold = time_interleaved([d.decide for d in compiled], few, touch=touch)
        cold = dict(zip([d.policy for d in compiled], np.median(cold, axis=1)))
        draws = np.random.default_rng(run.profile.seed).integers(0, len(tasks), (200, len(tasks)))
        for d in deciders + unhurried:
            mine = spent[d.policy, d.runtime]
            row = {"scenario": name, "policy": d.policy, "runtime": d.runtime, "n_subtasks": graph.n}
            row |= {"median_us": np.median(mine), "p99_us": np.quantile(mine, 0.99)}
            row |= {"parameters": d.parameters, "macs": d.macs, "bytes": d.bytes, "mean_us": mine.mean()}
            row["n_timed"] = len(mine)
            row["cold_us"] = cold[d.policy] if d.runtime == "numba" else np.nan
            for own, column in (("student", "over_student"), ("student_verified", "over_verified")):
                if (own, d.runtime) in spent and len(mine) == len(tasks):
                    reference = spent[own, d.runtime]
                    ratios = np.median(mine[draws], axis=1) / np.median(reference[draws], axis=1)
                    row[column] = np.median(mine) / np.median(reference)
                    row[f"{column}_low"], row[f"{column}_high"] = interval(ratios)
            rows.append(row | timed(mine))
    return pd.DataFrame(rows)


def timed(us: np.ndarray) -> dict[str, float]:
    """median_us and p99_us of times (S,), each with the interval of what they were drawn from, _low and _high."""
    median, p99 = quantile_intervals(us, (0.5, 0.99))
    return _with_ends("median_us", np.median(us), *median) | _with_ends("p99_us", np.quantile(us, 0.99), *p99)


BATCH = 8192


def throughput(run: Run, name: str = "dag", repetitions: int = 15) -> pd.DataFrame:
    """Decisions a second in batches of BATCH on one core, from task vectors to placements: policy, runtime, decisions_per_second.

    The median of `repetitions` interleaved rounds, with its interval from order statistics.
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
    spent = time_interleaved(list(functions.values()), [tasks] * repetitions, warmup=1)
    rows = []
    for (policy, runtime), us in zip(functions, spent):
        slow, fast = BATCH / quantile_intervals(us, (0.5,))[0, ::-1] * 1e6
        row = {"scenario": name, "policy": policy, "runtime": runtime, "batch": BATCH}
        rows.append(row | _with_ends("decisions_per_second", BATCH / np.median(us) * 1e6, slow, fast))
    return pd.DataFrame(rows)
