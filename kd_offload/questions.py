"""Questions beyond the headline tables: where each location wins, how cost grows, what errors cost, what survives.

Every function returns a table (a figure of each is in `plotting_questions`): regret is delay over the optimum's
delay, minus 1, mean over tasks and training seeds; low, high are its 95 % interval by a paired bootstrap over both.
All policies of one cell decide on the same tasks.
"""

from __future__ import annotations

import warnings
from dataclasses import dataclass, fields
from zlib import crc32

import numpy as np
import pandas as pd

from .config import Run, progress
from .dataset import scenario
from .delay import delay
from .evaluation import FEW, time_interleaved, timed
from .graphs import LOCATIONS, TaskGraph, random_graph
from .labels import Solver, _solve_one, anytime, solve
from .learning import in_parallel, model_path, open_model
from .policies import LEARNED, LOOKS_AT_NOTHING, REGISTRY, Decider, compiled_deciders, learned, place, policies_for
from .sampling import STATE, Ranges, sample_tasks
from .statistics import bootstrap_means, interval

SHOWN = ("chain", "dag", "fusion")
OPTIMAL = ("exact", "chain_dp")  # by construction


@dataclass(frozen=True)
class Sizes:
    """How much of everything: tasks a cell, values of a swept quantity, random graphs a size."""

    tasks: int = 2000
    resamples: int = 500
    values: int = 9
    subtasks: tuple[int, ...] = (4, 8, 12, 16, 20, 24)
    graphs: int = 8
    graph_tasks: int = 300


SIZES = {
    "paper": Sizes(),
    "smoke": Sizes(200, 100, 5, (4, 8, 16), 3, 60),
    "tiny": Sizes(40, 20, 3, (4, 6), 2, 10),
}


def sizes_of(run: Run) -> Sizes:
    """The sizes of a run's profile; the paper's for a profile without its own."""
    return SIZES.get(run.profile.name, SIZES["paper"])


def _rng(run: Run, name: str) -> np.random.Generator:
    return np.random.default_rng([run.profile.seed, crc32(name.encode())])


def base_tasks(run: Run, name: str, count: int) -> np.ndarray:
    """`count` tasks of a scenario, (count, F), the same whenever asked: what sweeps and disturbances start from."""
    where = scenario(name)
    return sample_tasks(where.graph, count, _rng(run, name), Ranges(), where.workload)


def all_policies(run: Run, name: str, roles=LEARNED) -> dict[str, list]:
    """Every policy for a scenario: policy -> functions (graph, tasks (S, F)) -> placements (S, n), one a training seed.

    The registered policies, and of each role in `roles` the run's models. ValueError for a model that is missing.
    """
    found = {policy: [REGISTRY[policy]] for policy in policies_for(scenario(name).graph)}
    return found | {
        role: [learned(open_model(model_path(run, role, name, seed))) for seed in run.profile.seeds] for role in roles
    }


def placed(policies: dict[str, list], graph: TaskGraph, seen: np.ndarray) -> dict[str, np.ndarray]:
    """What every policy decides on tasks `seen` (S, F): policy -> placements int8 (K, S, n), K training seeds.

    Raises ValueError naming a policy whose placements have a wrong shape or value.
    """
    with warnings.catch_warnings():  # here tasks outside the training range are meant to be there
        warnings.filterwarnings("ignore", "task: .* lies outside the training range", UserWarning)
        return {p: np.stack([place(p, graph, seen, f) for f in functions]) for p, functions in policies.items()}


def regrets(graph: TaskGraph, tasks, optimum, decisions: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Regret of decisions (K, S, n) on the true tasks (S, F) whose least delays are `optimum` (S,): policy -> (K, S)."""
    return {p: np.array([delay(graph, tasks, x) / optimum - 1 for x in xs]) for p, xs in decisions.items()}


def summary(regret: dict[str, np.ndarray], resamples: int, rng: np.random.Generator) -> list[dict]:
    """A row a policy from regrets (K, S): policy, seeds, regret, low, high."""
    rows = []
    for (policy, r), draws in zip(regret.items(), bootstrap_means(list(regret.values()), resamples, rng).T):
        low, high = interval(draws)
        rows.append({"policy": policy, "seeds": len(r), "regret": r.mean(), "low": low, "high": high})
    return rows


# Where each location wins: one quantity fixed at a time.

RATIO = "bytes_per_cycle"
SWEPT = ("B_up", "B_wan", "tau_wan", "f_0", RATIO)
FOLLOWED = ("exact", "student", "student_verified")  # whose shares of device, edge and cloud are noted


def swept_values(quantity: str, count: int) -> np.ndarray:
    """Log-spaced values (count,) of a quantity across its training range, SI units; of RATIO, a factor from 1/8 to 8."""
    known = [f.name for f in fields(Ranges) if f.name in STATE]
    if quantity not in (*known, RATIO):
        raise ValueError(f"quantity: {quantity!r}, expected one of {', '.join((*known, RATIO))}")
    return np.geomspace(*((1 / 8, 8) if quantity == RATIO else getattr(Ranges(), quantity)), count)


def fixed_at(graph: TaskGraph, tasks: np.ndarray, quantity: str, value: float) -> np.ndarray:
    """Tasks (S, F) with a quantity at `value`. B_down follows B_up at its ratio; RATIO multiplies all bytes."""
    swept_values(quantity, 2)  # refuses an unknown quantity
    out, state = tasks.copy(), tasks.shape[1] - len(STATE)
    if quantity == RATIO:
        out[:, graph.n : state] *= value
        return out
    at = state + STATE.index(quantity)
    if quantity == "B_up":
        out[:, at + 1] *= value / out[:, at]
    out[:, at] = value
    return out


def sweeps(run: Run, names=("dag", "fusion"), quantities=SWEPT, roles=LEARNED) -> pd.DataFrame:
    """Regret and mean delay of every policy with one quantity fixed at a time, all else drawn as for training.

    Columns: scenario, quantity, value (SI; a factor for RATIO), policy, seeds, regret, low, high, mean_delay_ms, and for
    those in FOLLOWED device, edge, cloud: the share of subtasks there. Raises ValueError for an unknown quantity.
    """
    for quantity in quantities:
        swept_values(quantity, 2)
    todo = [(run, name, quantity, roles) for name in names for quantity in quantities]
    return pd.DataFrame([row for rows in in_parallel(_sweep, todo, "sweeps") for row in rows])


def _sweep(run, name, quantity, roles):
    sizes, graph, policies = sizes_of(run), scenario(name).graph, all_policies(run, name, roles)
    base, rows = base_tasks(run, name, sizes.tasks), []
    for value in swept_values(quantity, sizes.values):
        tasks = fixed_at(graph, base, quantity, value)
        decisions = placed(policies, graph, tasks)
        optimum = delay(graph, tasks, decisions["exact"][0])
        regret = regrets(graph, tasks, optimum, decisions)
        for row in summary(regret, sizes.resamples, _rng(run, name)):
            row["mean_delay_ms"] = 1e3 * ((1 + regret[row["policy"]]) * optimum).mean()
            shares = [(decisions[row["policy"]] == k).mean() for k in range(3)]
            row |= dict(zip(LOCATIONS, shares if row["policy"] in FOLLOWED else [np.nan] * 3))
            rows.append({"scenario": name, "quantity": quantity, "value": value} | row)
    return rows


# How regret and the time of a decision grow with the number of subtasks.

STOPPED = (100, 1000, 10_000)  # nodes after which the exact search gives up


def _untrained(graphs: list[TaskGraph]) -> list[str]:
    """Policies that look, need no training and can decide for all these graphs."""
    able = [set(policies_for(graph)) for graph in graphs]
    return [p for p in REGISTRY if p not in (*LOOKS_AT_NOTHING, "chain_dp") and all(p in names for names in able)]


def stopped_decider(graph: TaskGraph, nodes: int) -> Decider:
    """The exact search for one task at a time that gives up after `nodes` and takes the best placement found."""
    solver = Solver(graph)

    def decide(task):
        _solve_one(solver._structure, task, nodes, solver.placement, solver._scratch)
        return solver.placement

    return Decider(f"exact_{nodes}", "numba", decide)


def by_size(run: Run) -> pd.DataFrame:
    """Policies without training on random graphs of a few to many subtasks: their regret, and the time of one decision.

    exact_<nodes>: the exact search, stopped. Columns: n_subtasks, graphs, tasks (of each graph), policy, regret, low, high
    (over tasks and graphs), regret_p99; mean_us, median_us, p99_us (both with _low, _high), max_us of one compiled decision, batch 1, one thread.
    """
    sizes = sizes_of(run)
    todo = [(run, n, index) for n in sizes.subtasks for index in range(sizes.graphs)]
    done, rows = in_parallel(_of_graph, todo, "random graphs"), []
    for n in progress(sizes.subtasks, len(sizes.subtasks), "timing", "size"):
        cells = [regret for (_, size, _), regret in zip(todo, done) if size == n]
        names = [p for p in cells[0] if all(p in cell for cell in cells)]
        regret = {p: np.array([cell[p] for cell in cells]) for p in names}
        spent = _spent([random_graph(n, index) for index in range(sizes.graphs)], run, sizes.graph_tasks)
        for row in summary(regret, sizes.resamples, _rng(run, f"random_{n}")):  # graphs are resampled as seeds are
            about = {"n_subtasks": n, "graphs": row.pop("seeds"), "tasks": sizes.graph_tasks}
            row |= {"regret_p99": np.quantile(regret[row["policy"]], 0.99)}
            us = spent.get(row["policy"], np.array([np.nan]))
            row |= {"mean_us": us.mean()} | timed(us)
            rows.append(about | row | {"max_us": us.max()})
    return pd.DataFrame(rows)


def _graph_tasks(run, graph, count):
    return sample_tasks(graph, count, _rng(run, graph.name))


def _of_graph(run, n, index):
    """Regret (S,) of every policy on one random graph."""
    graph = random_graph(n, index)
    tasks = _graph_tasks(run, graph, sizes_of(run).graph_tasks)
    optimum = solve(graph, tasks).delays
    policies = {p: [REGISTRY[p]] for p in _untrained([graph])}
    regret = {p: r[0] for p, r in regrets(graph, tasks, optimum, placed(policies, graph, tasks)).items()}
    return regret | {f"exact_{nodes}": anytime(graph, tasks, nodes)[1] / optimum - 1 for nodes in STOPPED}


def _spent(graphs, run, count) -> dict[str, np.ndarray]:
    """Microseconds of every decision on all graphs' tasks: policy -> (graphs * count,).

    The less of two runs of the same decision: the tail is then the search's own, not the machine's.
    """
    names, parts = _untrained(graphs), []
    for graph in graphs:
        deciders = [d for d in compiled_deciders(graph) if d.policy in names]
        deciders += [stopped_decider(graph, nodes) for nodes in STOPPED]
        inputs, functions = list(_graph_tasks(run, graph, count)), [d.decide for d in deciders]
        us = np.minimum(time_interleaved(functions, inputs), time_interleaved(functions, inputs))
        parts.append(dict(zip([d.policy for d in deciders], us)))
    return {p: np.concatenate([part[p] for part in parts]) for p in parts[0]}


# Delay plus the time of the decision, on slower machines and for smaller tasks.

SLOWDOWNS = np.geomspace(1, 3000, 41)
DELAYS_MS = np.geomspace(1, 3000, 41)
RIVALS = {"all": (), "without exact": OPTIMAL}


def effective(
    latency: pd.DataFrame,
    timing: pd.DataFrame,
    names=SHOWN,
    runtime: str = "numba",
    time: str = "mean_us",
    slowdowns=SLOWDOWNS,
    delays_ms=DELAYS_MS,
) -> pd.DataFrame:
    """Which policy has the least mean effective latency, delay + slowdown * time of a decision, by slowdown and task scale.

    latency: scenario, policy, seed, mean_delay_ms. timing: scenario, policy, runtime and `time`; a policy that does not
    exist in `runtime` counts with its quickest one. Columns: scenario, rivals (all, or without the exact solvers), slowdown,
    scale, best_delay_ms, winner, effective_ms, runner_up, margin: effective latency of the runner-up over the winner's, minus 1.

    A task's scale multiplies its cycles, bytes and propagation delays by one factor. Its delay is made from quotients
    cycles / speed and bytes / bandwidth and from propagation delays by sums and maxima alone, so every placement's delay is
    multiplied by that very factor, and the optimum stays where it is. So do decisions: those by the delay model compare
    delays, and a network trained at that scale sees the same inputs, since standardising takes the logarithm's shift away.
    best_delay_ms is the least mean delay of any policy at that scale. ValueError for a scenario that is missing.
    """
    mean = latency.groupby(["scenario", "policy"], sort=False).mean_delay_ms.mean()
    quickest = timing.groupby(["scenario", "policy"], sort=False)[time].min()
    spent = timing[timing.runtime == runtime].set_index(["scenario", "policy"])[time].combine_first(quickest)
    frames = []
    for name in names:
        if name not in mean.index.get_level_values(0) or name not in spent.index.get_level_values(0):
            raise ValueError(f"scenario: {name!r} is missing in the tables of latency or timing")
        both = pd.DataFrame({"delay": mean[name], "ms": spent[name] / 1e3}).dropna()
        slowdown, best = (g.ravel() for g in np.meshgrid(slowdowns, delays_ms, indexing="ij"))
        scale = best / both.delay.min()
        for rivals, excluded in RIVALS.items():
            part = both.drop(list(excluded), errors="ignore")
            if len(part) < 2:
                raise ValueError(f"policies: {list(part.index)} for scenario {name!r}, expected at least 2 to compare")
            total = np.outer(scale, part.delay) + np.outer(slowdown, part.ms)  # (cells, policies) ms
            order, cells = total.argsort(1, kind="stable")[:, :2].T, np.arange(len(total))
            least, second = (total[cells, o] for o in order)
            about = {"scenario": name, "rivals": rivals, "slowdown": slowdown, "scale": scale, "best_delay_ms": best}
            about |= {"winner": part.index[order[0]], "effective_ms": least}
            frames.append(pd.DataFrame(about | {"runner_up": part.index[order[1]], "margin": second / least - 1}))
    return pd.concat(frames, ignore_index=True)


# What a wrong label costs.

FLIPS = ("random", "adjacent", "one_location")


def flipped(graph: TaskGraph, labels: np.ndarray, count: int, how: str, rng) -> tuple[np.ndarray, np.ndarray]:
    """Labels (S, n) with `count` of each row made wrong -> (placements int8 (S, n), which rows allow it (S,)).

    how: random, any subtasks, each to any wrong location; adjacent, subtasks that hang together in the graph; one_location,
    all to the same location, drawn among those that enough subtasks are not at. Raises ValueError for another way or count.
    """
    if how not in FLIPS:
        raise ValueError(f"how: {how!r}, expected one of {', '.join(FLIPS)}")
    if not 1 <= count <= graph.n:
        raise ValueError(f"count: {count}, expected 1 to {graph.n} labels")
    s, n = labels.shape
    key, rows = rng.random((s, n)), np.arange(s)
    wrong = ((labels + rng.integers(1, 3, (s, n))) % 3).astype(np.int8)
    allowed = np.ones(s, bool)
    if how == "one_location":
        movable = (labels[:, None] != np.arange(3)[:, None]).sum(-1)  # (S, 3)
        choice = np.where(movable >= count, rng.random((s, 3)), -1)
        to = choice.argmax(1)
        allowed = choice.max(1) >= 0
        wrong = np.where(labels != to[:, None], to[:, None], labels).astype(np.int8)
        key[labels == to[:, None]] = -1
    if how == "adjacent":
        joined = np.zeros((n, n))
        for i, j in graph.edges:
            if i and j <= n:
                joined[i - 1, j - 1] = joined[j - 1, i - 1] = 1
        chosen = np.zeros((s, n), bool)
        chosen[rows, key.argmax(1)] = True
        for _ in range(count - 1):
            frontier = np.where((chosen @ joined > 0) & ~chosen, key, -1)
            allowed &= frontier.max(1) >= 0
            chosen[rows, frontier.argmax(1)] = True
    else:
        chosen = key.argsort(1).argsort(1) >= n - count
    return np.where(chosen & allowed[:, None], wrong, labels), allowed


def label_cost(run: Run, names=SHOWN, roles=LEARNED) -> pd.DataFrame:
    """What wrong labels cost: those made wrong on purpose, and those that the learned policies get wrong themselves.

    Columns: scenario, source (random, adjacent or one_location flips, see `flipped`; single: every subtask to each wrong
    location, one at a time; or a policy), wrong_labels in the task, optimum, wrong: the locations, `any` unless told
    apart (for a policy: in tasks with one wrong label), cases, share_of_tasks, regret, low, high (none
    for fewer than FEW cases), regret_p95.
    """
    todo = [(run, name, roles) for name in names]
    return pd.DataFrame([row for rows in in_parallel(_label_cost, todo, "wrong labels") for row in rows])


def _label_cost(run, name, roles):
    sizes, graph = sizes_of(run), scenario(name).graph
    tasks = base_tasks(run, name, sizes.tasks)
    labels, optimum, _ = solve(graph, tasks)
    rows, rng = [], _rng(run, name)

    def regret(x):
        return delay(graph, tasks, x) / optimum - 1

    def add(source, cells, total):
        """cells: (wrong labels, optimum, wrong) -> (regrets, which count), both (K, S) or, of several cases a task, (K, S, C)."""
        cells = {key: (r, m) for key, (r, m) in cells.items() if m.any()}
        sums = [a.reshape(*a.shape[:2], -1).sum(-1) for r, m in cells.values() for a in (np.where(m, r, 0.0), 1.0 * m)]
        draws = bootstrap_means(sums, sizes.resamples, _rng(run, source)) if cells else None
        for c, (key, (r, m)) in enumerate(cells.items()):
            cost, cases = draws[:, 2 * c], draws[:, 2 * c + 1]
            low, high = interval(cost[cases > 0] / cases[cases > 0]) if m.sum() >= FEW else (np.nan, np.nan)
            row = {"scenario": name, "source": source} | dict(zip(("wrong_labels", "optimum", "wrong"), key))
            row |= {"cases": int(m.sum()), "share_of_tasks": m.sum() / total}
            rows.append(row | {"regret": r[m].mean(), "low": low, "high": high, "regret_p95": np.quantile(r[m], 0.95)})

    kinds = [(a, b) for a in range(3) for b in range(3) if a != b]

    def named(a, b):
        return 1, LOCATIONS[a], LOCATIONS[b]

    for how in FLIPS:
        cells = {}
        for count in sorted({m for m in (1, 2, 3, 5, graph.n) if m <= graph.n}):
            x, allowed = flipped(graph, labels, count, how, rng)
            cells[count, "any", "any"] = regret(x)[None], allowed[None]
        add(how, cells, len(tasks))
    to = (labels[..., None] + [1, 2]) % 3  # (S, n, 2)
    single = np.empty(to.shape)
    for i in range(graph.n):
        for c in range(2):
            x = labels.copy()
            x[:, i] = to[:, i, c]
            single[:, i, c] = regret(x)
    at = (labels[..., None] + 0 * to, to)
    cells = {named(a, b): (single[None], ((at[0] == a) & (at[1] == b))[None]) for a, b in kinds}
    add("single", {(1, "any", "any"): (single[None], np.ones((1, *to.shape), bool))} | cells, 2 * graph.n * len(tasks))
    policies = {role: fs for role, fs in all_policies(run, name, roles).items() if role in roles}
    for role, xs in placed(policies, graph, tasks).items():
        r, missed = np.array([regret(x) for x in xs]), xs != labels
        counts = missed.sum(-1)
        cells = {(int(m), "any", "any"): (r, counts == m) for m in np.unique(counts) if m}
        for a, b in kinds:
            here = (missed & (labels == a) & (xs == b)).any(-1)
            cells[named(a, b)] = r, here & (counts == 1)
        add(role, cells, counts.size)
    return rows


# What is left when the measurements are off.

FACTORS = 4.0 ** np.linspace(-1, 1, 7)
NOISE = (0.0, 0.1, 0.2, 0.3, 0.4, 0.5)
STEPS_AGO = (0, 1, 2, 4, 8, 16)
STAY, LEVELS = 0.9, 4  # of the Markov-modulated links
DISTURBANCES = ("out_of_range", "noise", "stale", "missing")
MISSING = ("none", *STATE, "cycles", "bytes")
BANDWIDTHS = [STATE.index(b) - len(STATE) for b in ("B_up", "B_down", "B_wan")]  # columns, from the end


def noisy(tasks: np.ndarray, sigma: float, rng: np.random.Generator) -> np.ndarray:
    """Tasks (S, F) whose eight state quantities are measured with a factor exp(sigma * normal), each on its own."""
    out = tasks.copy()
    out[:, -len(STATE) :] *= np.exp(sigma * rng.standard_normal((len(tasks), len(STATE))))
    return out


def stale(tasks: np.ndarray, ago: int, rng: np.random.Generator) -> np.ndarray:
    """Tasks (S, F) with the bandwidths of `ago` steps before, by the same draws for any `ago`.

    Wireless and WAN each jump among LEVELS levels, log-spaced across the training range: a step keeps the level with
    probability STAY, or else takes any other. The task's own bandwidth is at the present level. The chain is
    reversible, so its past is drawn as its future would be. B_down keeps its ratio to B_up.
    """
    out, at = tasks.copy(), tasks.shape[1] - len(STATE)
    for link, follows in (("B_up", ("B_down",)), ("B_wan", ())):
        low, high = np.log(getattr(Ranges(), link))
        step, value = (high - low) / LEVELS, np.log(tasks[:, at + STATE.index(link)])
        now = np.clip((value - low) // step, 0, LEVELS - 1).astype(int)
        level = now.copy()
        stream = rng.spawn(1)[0]
        for _ in range(ago):
            stay = stream.random(len(tasks)) < STAY
            level = np.where(stay, level, (level + stream.integers(1, LEVELS, len(tasks))) % LEVELS)
        for quantity in (link, *follows):
            out[:, at + STATE.index(quantity)] *= np.exp((level - now) * step)
    return out


def without(graph: TaskGraph, tasks: np.ndarray, feature: str) -> np.ndarray:
    """Tasks (S, F) with a feature at its training median: a state quantity, all `cycles`, all `bytes`, or `none`."""
    if feature not in MISSING:
        raise ValueError(f"feature: {feature!r}, expected one of {', '.join(MISSING)}")
    out, state = tasks.copy(), tasks.shape[1] - len(STATE)

    def median(quantity):
        return float(np.sqrt(np.prod(getattr(Ranges(), quantity))))  # log-uniform: the geometric mean

    if feature == "cycles":
        out[:, : graph.n] = median("cycles")
    elif feature == "bytes":
        out[:, graph.n : state] = median("bytes")
    elif feature == "B_down":
        out[:, state + STATE.index(feature)] = median("B_up") * median("down_over_up")
    elif feature != "none":
        out[:, state + STATE.index(feature)] = median(feature)
    return out


def robustness(run: Run, names=("dag", "fusion"), roles=LEARNED) -> pd.DataFrame:
    """Regret on the true tasks of what every policy, the exact search too, decides on tasks as it sees them.

    Columns: scenario, disturbance, feature (what is disturbed), level, policy, seeds, regret, low, high. disturbance:
    out_of_range, all bandwidths times `level`, seen as they are; noise, state measured with that deviation of its
    logarithm; stale, bandwidths of `level` steps ago; missing, `feature` replaced by its training median.
    """
    todo = [(run, name, disturbance, roles) for name in names for disturbance in DISTURBANCES]
    return pd.DataFrame([row for rows in in_parallel(_disturbed, todo, "robustness") for row in rows])


def disturbed(run: Run, name: str, disturbance: str, tasks: np.ndarray):
    """The cells of one disturbance: yields (feature, level, true tasks, tasks as seen). ValueError for an unknown one."""
    graph = scenario(name).graph
    if disturbance == "out_of_range":
        for factor in FACTORS:
            true = tasks.copy()
            true[:, BANDWIDTHS] *= factor
            yield "bandwidths", factor, true, true
    elif disturbance == "noise":
        for sigma in NOISE:
            yield "state", sigma, tasks, noisy(tasks, sigma, _rng(run, f"{name} noise"))
    elif disturbance == "stale":
        for ago in STEPS_AGO:
            yield "bandwidths", ago, tasks, stale(tasks, ago, _rng(run, f"{name} stale"))
    elif disturbance == "missing":
        for feature in MISSING:
            yield feature, int(feature != "none"), tasks, without(graph, tasks, feature)
    else:
        raise ValueError(f"disturbance: {disturbance!r}, expected one of {', '.join(DISTURBANCES)}")


def _disturbed(run, name, disturbance, roles):
    sizes, graph, policies = sizes_of(run), scenario(name).graph, all_policies(run, name, roles)
    tasks, rows = base_tasks(run, name, sizes.tasks), []
    solved = optimum = None
    for feature, level, true, seen in disturbed(run, name, disturbance, tasks):
        if true is not solved:
            solved, optimum = true, solve(graph, true).delays
        regret = regrets(graph, true, optimum, placed(policies, graph, seen))
        about = {"scenario": name, "disturbance": disturbance, "feature": feature, "level": level}
        rows += [about | row for row in summary(regret, sizes.resamples, _rng(run, name))]
    return rows
