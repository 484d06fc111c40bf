"""The training of the other learners: scikit-learn's classifiers, and deep Q-learning."""

from __future__ import annotations

import json
import time
from dataclasses import asdict
from pathlib import Path

import joblib
import numpy as np
import pandas as pd

from experiments.baselines.classifiers import ROLES, SETTINGS, decide_trees, fit_linear, fit_trees
from experiments.baselines.decisions import save_decisions
from experiments.baselines.dqn import DqnConfig, decide, train_agent
from experiments.parallel import in_parallel
from experiments.run import Run, load, provenance
from experiments.scenarios import SHOWN, TRAINED, scenario
from kd_offload.data import save_json, sha256, written_aside
from kd_offload.labels import Labelled
from kd_offload.model import save


def labels_for(run: Run, role: str, name: str) -> int:
    """How many labels a classifier is given for a scenario."""
    profile = run.profile
    if role == "linear":
        return profile.linear_labels
    by_scenario = dict(getattr(profile, f"{role}_labels"))
    return by_scenario.get(name, profile.networks_labels)


def settings_for(run: Run, role: str) -> dict:
    """scikit-learn's settings of a classifier in a run."""
    size = {
        "linear": {},
        "random_forest": {"n_estimators": run.profile.trees},
        "boosting": {"max_iter": run.profile.iterations},
    }
    return SETTINGS[role] | size[role]


def labels_given(run: Run, name: str, seed: int, count: int) -> Labelled:
    """A seed's labels: `count` tasks of the training set, or all; fewer are a part of more."""
    train = load(run, name, "train")
    rng = np.random.default_rng([run.profile.seed, seed])
    rows = rng.permutation(len(train.tasks))[:count]
    return Labelled(*(part[rows] for part in train))


def train_classifier(run: Run, role: str, name: str, seed: int) -> dict:
    """Train one classifier and save it: the linear one as a Model, of trees what they decide.

    The trees of the first seed are saved for the scenarios shown, since notebook 08 times them.
    Returns its row of the table `classifiers`.
    """
    settings = settings_for(run, role)
    given = labels_given(run, name, seed, labels_for(run, role, name))
    start, converged = time.process_time(), None
    if role == "linear":
        fitted, converged = fit_linear(scenario(name).graph, given, seed, **settings)
    else:
        fitted = fit_trees(role, given, seed, **settings)
    seconds = time.process_time() - start
    about = {"labels": len(given.tasks), "settings": settings}
    about["data"] = sha256(run.data_path(name, "train"))
    if role == "linear":
        path = run.model_path(role, name, seed)
        save(fitted, path)
        save_json(path.with_suffix(".json"), {"sha256": sha256(path), **provenance(run, **about)})
    else:
        placements = decide_trees(fitted, load(run, name, "test").tasks)
        save_decisions(run, role, name, seed, placements, **about)
        if name in SHOWN and seed == run.profile.seeds[0]:
            with written_aside(_trees_path(run, role, name)) as aside:
                joblib.dump(fitted, aside, compress=3)
    row = {"role": role, "scenario": name, "seed": seed, "training_seconds": seconds}
    row |= {"labels": len(given.tasks), "settings": json.dumps(settings)}
    return row | {"converged": converged}


def train_classifiers(run: Run) -> pd.DataFrame:
    """Train every classifier for every scenario and seed of a run.

    Parameters
    ----------
    run : Run
        With the data of all scenarios that are trained for.

    Returns
    -------
    pandas.DataFrame
        One row each: role, scenario, seed, training_seconds (of a CPU, for the fit alone), labels,
        settings (JSON), converged (whether the linear one's solver ended by itself; others have
        none).

    Raises
    ------
    ValueError
        For missing data.
    """
    jobs = [
        (run, role, name, seed) for role in ROLES for name in TRAINED for seed in run.profile.seeds
    ]
    return pd.DataFrame(in_parallel(train_classifier, jobs, "classifiers"))


def open_trees(run: Run, role: str, name: str):
    """The random forest or the boosted trees of a run's first seed, for a scenario shown.

    Raises ValueError if they are missing. The file is a pickle: open none from elsewhere.
    """
    path = _trees_path(run, role, name)
    if not path.exists():
        raise ValueError(f"model: {path} is missing; train the classifiers first")
    return joblib.load(path)


def _trees_path(run: Run, role: str, name: str) -> Path:
    return run.model_path(role, name, run.profile.seeds[0]).with_suffix(".joblib")


def train_one_agent(run: Run, name: str, seed: int, budget: int) -> list[dict]:
    """Train one agent for a number of episodes; its rows of the table `dqn_curves`.

    What it decides on the test tasks is saved if the budget is the scenario's largest.
    """
    profile = run.profile
    where = scenario(name)
    config = DqnConfig(budget, profile.dqn_hidden, profile.dqn_points)
    held_out = Labelled(*(part[: profile.dqn_validation] for part in load(run, name, "validation")))
    start = time.process_time()
    agent, curve = train_agent(where, config, seed, held_out)
    seconds = time.process_time() - start
    if budget == max(dict(profile.dqn_episodes)[name]):
        placements = decide(agent, load(run, name, "test").tasks)
        save_decisions(run, "dqn", name, seed, placements, **asdict(config))
    about = {"scenario": name, "seed": seed, "budget": budget}
    return [about | point._asdict() | {"training_seconds": seconds} for point in curve]


def train_dqn(run: Run) -> pd.DataFrame:
    """Train a run's agents.

    Every scenario's largest budget is trained with all of DQN's seeds, a smaller one with the first
    seed. Exploration and learning rate follow the budget, so each is a training of its own.

    Parameters
    ----------
    run : Run
        With the validation and test data of the scenarios that DQN has episodes for.

    Returns
    -------
    pandas.DataFrame
        The learning curves, one row per point: scenario, seed, budget (episodes of the whole
        training), delay_evaluations so far, regret_mean on validation tasks, training_seconds (of a
        CPU, of the whole training).

    Raises
    ------
    ValueError
        For missing data.
    """
    seeds = run.profile.seeds[: run.profile.dqn_seeds]
    jobs = []
    for name, budgets in run.profile.dqn_episodes:
        for budget in sorted(budgets, reverse=True):
            trained = seeds if budget == max(budgets) else seeds[:1]
            jobs += [(run, name, seed, budget) for seed in trained]
    curves = in_parallel(train_one_agent, jobs, "deep Q-learning")
    return pd.DataFrame([row for curve in curves for row in curve])
