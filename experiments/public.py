"""Graphs that others published: `python -m experiments.public FOLDER` decides them all.

The artifact carries none of these graphs. A reader clones a set of them, for instance DAGBench, and
names its folder; `figures/public_graphs.csv` and `figures/public_solutions.csv` have what came out.
No network was trained on them, and nothing was chosen by them.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
import pandas as pd

from anygraph import Decider
from anygraph.graph_files import SUFFIXES, GraphFile, Reading, read_graph
from experiments.baselines import ANY
from experiments.baselines.beam import beam
from experiments.parallel import in_parallel
from experiments.run import Run, generator, get_run, save_table
from experiments.studies.clock import in_fresh_processes
from experiments.studies.common import model_digests
from experiments.studies.contest import Contestant, Placed, Played, Who, contestants, networks, play
from experiments.studies.scale import times_of
from kd_offload.graphs import TaskGraph
from kd_offload.tasks import STATE, sample_tasks

WIDEST = 4096  # of the beam that helps to find the best known
STARTS = 100  # random placements, improved, that do so too
SEARCH_ONLY = ("beam_4096", "random_starts")  # not compared: they only look for the best known


def graphs_of(folder: str | Path, reading: Reading = Reading()) -> list[GraphFile]:
    """The task graphs of a folder and of those in it, hidden ones left out.

    Parameters
    ----------
    folder : str or Path
        For instance a clone of DAGBench.
    reading : Reading, optional
        What to do where a file leaves it open.

    Returns
    -------
    list of GraphFile
        Sorted by the graphs' names.

    Raises
    ------
    ValueError
        If there is no graph file or one is broken, or for two graphs of one name.
    """
    folder = Path(folder)
    found: dict[str, tuple[Path, GraphFile]] = {}
    for path in sorted(folder.rglob("*")):
        hidden = any(part.startswith(".") for part in path.relative_to(folder).parts)
        if hidden or path.suffix.lower() not in SUFFIXES:
            continue
        file = read_graph(path, reading)
        name = file.graph.name
        if name in found:
            both = f"{found[name][0]} and {path}"
            raise ValueError(f"folder {str(folder)!r}: {both} are both named {name!r}")
        found[name] = (path, file)
    if not found:
        raise ValueError(f"folder {str(folder)!r}: no file of {', '.join(SUFFIXES)} in it")
    return [file for _, (_, file) in sorted(found.items())]


def public_case(run: Run, file: GraphFile) -> np.ndarray:
    """The tasks (S, F) of a graph: its costs, in states drawn from the default ranges."""
    rng = generator(run, f"public_{file.graph.name}")
    return sample_tasks(file.graph, run.profile.public_tasks, rng, workload=file.workload)


def _play_public(run: Run, file: GraphFile) -> Played:
    graph = file.graph
    able = contestants(graph, networks(run), stops=run.profile.scale_nodes)
    wide = beam(WIDEST, graph).loop
    able[Who("beam_4096")] = lambda tasks: Placed(wide(tasks), np.zeros(len(tasks)))
    able[Who("random_starts")] = _random_starts(graph, generator(run, f"starts_{graph.name}"))
    return play(graph, public_case(run, file), able)


def _random_starts(graph: TaskGraph, rng: np.random.Generator) -> Contestant:
    """The best of STARTS random placements, each improved and searched from."""
    decider = Decider(None, graph, 1, width=0)

    def decide(tasks: np.ndarray) -> Placed:
        placements = rng.integers(0, 3, (len(tasks), STARTS, graph.n)).astype(np.int8)
        every = decider.mend(np.repeat(tasks, STARTS, axis=0), placements.reshape(-1, graph.n))
        best = every.delays.reshape(-1, STARTS).argmin(axis=1)
        rows = np.arange(len(tasks)) * STARTS + best
        bounds = every.bounds.reshape(-1, STARTS).max(axis=1)
        return Placed(every.placements[rows], bounds)

    return decide


def _time_public(_: int, run: Run, files: list[GraphFile]) -> list[dict[Who, float]]:
    """Mean microseconds of all contestants on every graph, as one process measures them."""
    models = networks(run)
    measured = []
    for file in files:
        able = contestants(file.graph, models, stops=run.profile.scale_nodes)
        measured.append(times_of(able, public_case(run, file)))
    return measured


def public_graphs(run: Run, name: str, files: list[GraphFile]) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Every contestant on every graph, and the best that is known of each.

    Parameters
    ----------
    run : Run
    name : str
        Of the set.
    files : list of GraphFile

    Returns
    -------
    results : pandas.DataFrame
        set, graph, n_subtasks, n_edges, merged (whether the file has more subtasks), policy, seed,
        n_test, regret_mean, regret_max (against the best known); mean_us, over processes and tasks;
        median_us, over processes; gap_mean, proven_share (by the policy's own bound).
    solutions : pandas.DataFrame
        set, graph, digest (SHA-256 of the file), state, the state's quantities in SI units,
        delay_s, bound_s, proven, placement (a digit per subtask, in the order of numbers).
    """
    games = in_parallel(_play_public, [(run, file) for file in files], "public graphs")
    processes = in_fresh_processes(_time_public, run, files, what="timing")
    results, solutions = [], []
    for index, (file, played) in enumerate(zip(files, games)):
        graph = file.graph
        about = {"set": name, "graph": graph.name}
        times = [process[index] for process in processes]
        size = {"n_subtasks": graph.n, "n_edges": len(graph.edges)}
        size["merged"] = file.unmerged is not None
        for who, regret in played.regret.items():
            if who.policy not in SEARCH_ONLY:
                results.append(about | size | _row(who, regret, played, times))
        solutions += [about | row for row in _solved(file, public_case(run, file), played)]
    return pd.DataFrame(results), pd.DataFrame(solutions)


def _row(who: Who, regret: np.ndarray, played: Played, times: list[dict[Who, float]]) -> dict:
    gaps = played.gaps(who)
    microseconds = [process[who] for process in times]
    return {
        "policy": who.policy,
        "seed": who.seed,
        "n_test": len(regret),
        "regret_mean": regret.mean(),
        "regret_max": regret.max(),
        "mean_us": np.mean(microseconds),
        "median_us": np.median(microseconds),
        "gap_mean": gaps.mean(),
        "proven_share": np.mean(gaps <= 1e-9),
    }


def _solved(file: GraphFile, tasks: np.ndarray, played: Played) -> list[dict]:
    rows = []
    for s, task in enumerate(tasks):
        row = {"digest": file.digest, "state": s}
        row |= {
            quantity: repr(value) for quantity, value in zip(STATE, task[-len(STATE) :].tolist())
        }
        row["delay_s"] = repr(float(played.best_delays[s]))
        row["bound_s"] = repr(float(min(played.best.bounds[s], played.best_delays[s])))
        row["proven"] = bool(played.proven[s])
        row["placement"] = "".join(map(str, played.best.placements[s]))
        rows.append(row)
    return rows


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(
        prog="python -m experiments.public", description=__doc__.splitlines()[0]
    )
    parser.add_argument("folder", type=Path, help="with graph files, in folders or not")
    parser.add_argument("--profile", default="paper", help="paper, smoke or lab")
    parser.add_argument("--name", help="of the set; the folder's by default")
    given = parser.parse_args()
    run, files = get_run(given.profile), graphs_of(given.folder)
    name = given.name or given.folder.resolve().name
    results, solutions = public_graphs(run, name, files)
    save_table(run, "public_graphs", results, models=model_digests(run, ("dag",), (ANY,)))
    save_table(run, "public_solutions", solutions, models=model_digests(run, ("dag",), (ANY,)))
    print(f"{len(files)} graphs of {name}: figures/public_graphs.csv, figures/public_solutions.csv")


if __name__ == "__main__":
    main()
