"""When does a teacher help? Regret against the number of exact labels, width, temperature and mix.

At each number of labels, teacher and students learn from these labels alone. The plain student has
no teacher; the distilled one learns from the labels and from the teacher; a third one also learns
from unlabelled tasks, which the teacher decides. With all labels, the networks are those that the
artifact ships. Everything else is trained here, and how strongly weights decay is chosen on
validation tasks for each kind of network, by the same rule.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from itertools import product
from typing import NamedTuple

import numpy as np
import pandas as pd
from scipy import stats

from experiments.parallel import in_parallel
from experiments.run import Run, generator, load
from experiments.scenarios import SHOWN, scenario
from experiments.studies.statistics import bootstrap_means, effective_freedom, holm
from experiments.studies.teacher_and_student import AT_ONCE, taught
from kd_offload.delay import delay
from kd_offload.distill import (
    PLAIN,
    STUDENT,
    STUDENT_INDEPENDENT,
    TEACHER,
    TEACHER_INDEPENDENT,
    Recipe,
    fit,
)
from kd_offload.graphs import TaskGraph
from kd_offload.labels import Labelled
from kd_offload.model import Model, logits, open_model

TEACHES, PLAINLY, DISTILLED, UNLABELLED = "teacher", "plain", "distilled", "unlabelled"
HELPED = (DISTILLED, UNLABELLED)  # by a teacher
CHAIN, INDEPENDENT = "chain", "independent"
HALF, WIDTH, MAP = "half the steps", "width", "temperature and mix"  # what is varied
RECIPES = {
    CHAIN: {TEACHES: TEACHER, PLAINLY: PLAIN, DISTILLED: STUDENT},
    INDEPENDENT: {
        TEACHES: TEACHER_INDEPENDENT,
        PLAINLY: replace(PLAIN, units=0),
        DISTILLED: STUDENT_INDEPENDENT,
    },
}
SHIPPED = {  # roles of the networks that the artifact ships
    CHAIN: {TEACHES: "teacher", PLAINLY: "student_plain", DISTILLED: "student"},
    INDEPENDENT: {TEACHES: "teacher_independent", DISTILLED: "student_independent"},
}
DECAYS = (0.0, 0.1, 0.3, 1.0)  # weight decays of students to choose from
PASSES = 5  # of a student over its labels, at least
WIDTHS = (32, 128)  # beside the student's own
TEMPERATURES = (1.0, 2.0, 4.0)
MIXES = (0.0, 0.25, 0.5)
MAPPED = ("dag", "fusion")  # scenarios of the map of temperature by mix
WATCHED = 100  # validation tasks of the training curves, which nobody looks at


class Setting(NamedTuple):
    """What a network is and what it learned from: the first columns of the table."""

    study: str  # what is varied: "labels", HALF, WIDTH or MAP
    scenario: str
    labels: int
    dependence: str  # CHAIN or INDEPENDENT
    network: str  # TEACHES, PLAINLY, DISTILLED or UNLABELLED
    width: int
    temperature: float  # 0 without a teacher
    mix: float  # weight of the labels; 1 without a teacher
    weight_decay: float
    steps: int


Networks = Iterator[tuple[Setting, Model]]


class Gap(NamedTuple):
    """A mean, or a difference of means, with its 95 % interval."""

    value: float
    low: float
    high: float
    p: float


@dataclass(frozen=True)
class Point:
    """A number of labels of a scenario, for one kind of networks."""

    run: Run
    name: str
    labels: int
    dependence: str
    everything: Labelled
    """All training tasks."""
    validation: Labelled

    @property
    def graph(self) -> TaskGraph:
        """The scenario's graph."""
        return scenario(self.name).graph

    @property
    def train(self) -> Labelled:
        """The tasks with labels."""
        return Labelled(*(part[: self.labels] for part in self.everything))

    def candidates(self, network: str) -> list[Recipe]:
        """The recipes of a network to choose from: weight decays, and a teacher's steps."""
        profile = self.run.profile
        recipe = replace(RECIPES[self.dependence][network], batch=profile.grid_batch)
        if network == TEACHES:
            pairs = profile.grid_teachers
        else:
            steps = max(profile.grid_steps, PASSES * self.labels // profile.grid_batch)
            pairs = [(steps, decay) for decay in DECAYS]
        return [replace(recipe, steps=steps, weight_decay=decay) for steps, decay in pairs]

    def trained(self, recipe: Recipe, seed: int, soft: np.ndarray | None = None) -> Model:
        """A network that learns from the labels, and from a teacher's logits (S, n, 3)."""
        soft = None if soft is None else soft[None]
        watched = Labelled(*(part[:WATCHED] for part in self.validation))
        return fit(recipe, self.graph, self.train, watched, [seed], soft).models[0]

    def chosen(
        self, network: str, seed: int, soft: np.ndarray | None = None
    ) -> tuple[Recipe, Model]:
        """The candidate of least mean regret on validation tasks, and what it trained."""
        tried = []
        for recipe in self.candidates(network):
            model = self.trained(recipe, seed, soft)
            regret = regrets(self.graph, self.validation, model).mean()
            tried.append((regret, recipe, model))
        _, recipe, model = min(tried, key=lambda one: one[0])
        return recipe, model


def regrets(graph: TaskGraph, part: Labelled, model: Model) -> np.ndarray:
    """A model's regret on each of S tasks: (S,)."""
    placements = logits(model, part.tasks).argmax(-1).astype(np.int8)
    return delay(graph, part.tasks, placements) / part.delays - 1


def distillation(run: Run) -> pd.DataFrame:
    """Regrets of teachers and students, and what a teacher changes.

    Returns
    -------
    pandas.DataFrame
        One row per network: the columns of `Setting`; seeds; regret on test tasks with its
        interval (regret_low, regret_high). For a student with a teacher also teacher_better,
        whether its teacher's regret is significantly lower than the plain student's; difference
        from the plain student's regret, with its interval and p; and p_holm: p, adjusted for
        all rows.
    """
    names = [*reversed(SHOWN)]  # longest first
    points = [(run, name, *point) for name in names for point in points_of(run)]
    recipes = {name: {} for name in names}
    for (_, name, *point), chosen in zip(points, in_parallel(chosen_recipes, points, "recipes")):
        recipes[name][tuple(point)] = chosen
    jobs = [(run, name, seed, recipes[name]) for name in names for seed in run.profile.seeds]
    measured = {name: [] for name in names}
    for (_, name, *_), part in zip(jobs, in_parallel(networks_of_seed, jobs, "networks")):
        measured[name].append(part)
    rows = []
    for name in SHOWN:
        regret = {
            key: np.array([part[key] for part in measured[name]]) for key in measured[name][0]
        }
        rows += compare(regret, run.profile.resamples, generator(run, f"distillation {name}"))
    table = pd.DataFrame(rows)
    compared = table.p.notna()
    table.loc[compared, "p_holm"] = holm(table.p[compared])
    return table


def points_of(run: Run) -> list[tuple[int, str]]:
    """Numbers of labels and kinds of networks, with the most labels first."""
    profile = run.profile
    points = [(count, CHAIN) for count in profile.grid_labels]
    points += [(count, INDEPENDENT) for count in (profile.grid_focus, profile.train)]
    return sorted(points, reverse=True)


def chosen_recipes(run: Run, name: str, labels: int, dependence: str) -> dict[str, Recipe]:
    """The recipe of each network at a point, chosen with the first training seed.

    With all labels there is nothing to choose: the recipes are those of the shipped networks.
    """
    profile, seed = run.profile, run.profile.seeds[0]
    if labels == profile.train:
        return {
            network: replace(recipe, steps=profile.steps, batch=profile.batch)
            for network, recipe in RECIPES[dependence].items()
        }
    everything, validation = load(run, name, "train"), load(run, name, "validation")
    point = Point(run, name, labels, dependence, everything, validation)
    recipes = {}
    recipes[TEACHES], teacher = point.chosen(TEACHES, seed)
    recipes[PLAINLY], _ = point.chosen(PLAINLY, seed)
    recipes[DISTILLED], _ = point.chosen(DISTILLED, seed, taught(teacher, point.train))
    return recipes


def networks_of_seed(
    run: Run, name: str, seed: int, recipes: dict[tuple, dict[str, Recipe]]
) -> dict[Setting, np.ndarray]:
    """All networks of a scenario and a training seed: the regrets of each on S test tasks."""
    everything, validation = load(run, name, "train"), load(run, name, "validation")
    test, measured = load(run, name, "test"), {}
    for (labels, dependence), of_point in recipes.items():
        point = Point(run, name, labels, dependence, everything, validation)
        networks = _shipped if labels == run.profile.train else _trained
        for setting, model in networks(point, of_point, seed):
            measured[setting] = regrets(point.graph, test, model)
    return measured


def _trained(point: Point, recipes: dict[str, Recipe], seed: int) -> Networks:
    """The networks of a point and a seed, each with its setting."""
    teacher = point.trained(recipes[TEACHES], seed)
    yield _setting(point, TEACHES, recipes[TEACHES]), teacher
    soft = taught(teacher, point.train)
    for network in (PLAINLY, DISTILLED):
        model = point.trained(recipes[network], seed, soft)
        yield _setting(point, network, recipes[network]), model
    if point.dependence == CHAIN:
        recipe = replace(recipes[DISTILLED], weight_decay=0.0)  # it sees each task once
        model = with_unlabelled(point, recipe, teacher, soft, seed)
        yield _setting(point, UNLABELLED, recipe), model
        if point.labels == point.run.profile.grid_focus:
            yield from _variants(point, recipes, soft, seed)


def _shipped(point: Point, recipes: dict[str, Recipe], seed: int) -> Networks:
    """The networks with all labels: opened, or trained as the shipped ones are."""
    roles = SHIPPED[point.dependence]
    for network, recipe in recipes.items():
        if network in roles:
            model = open_model(point.run.model_path(roles[network], point.name, seed))
        else:
            model = point.trained(recipe, seed)
        yield _setting(point, network, recipe), model


def with_unlabelled(
    point: Point, recipe: Recipe, teacher: Model, soft: np.ndarray, seed: int
) -> Model:
    """A student of as many tasks as it sees in its steps, of which only the point's have labels.

    The teacher decides the others, and its decisions take the place of the labels: in the loss, and
    as what a chain sees before each subtask.

    Parameters
    ----------
    point : Point
    recipe : Recipe
    teacher : Model
        Trained on the point's labels.
    soft : numpy.ndarray of float32, shape (labels, n, 3)
        Its logits given the exact labels.
    seed : int

    Returns
    -------
    Model
    """
    seen = max(point.labels, recipe.steps * recipe.batch)
    everything = Labelled(*(part[:seen] for part in point.everything))
    tasks, labels = everything.tasks, point.labels
    parts = [
        logits(teacher, tasks[start : start + AT_ONCE])
        for start in range(labels, len(tasks), AT_ONCE)
    ]
    soft = np.concatenate([soft, *parts])
    decided = soft.argmax(-1).astype(np.int8)  # a chain's logits are those given its own labels
    decided[:labels] = point.train.placements
    everything = everything._replace(placements=decided)
    whole = replace(point, labels=len(tasks), everything=everything)
    return whole.trained(recipe, seed, soft)


def _variants(point: Point, recipes: dict[str, Recipe], soft: np.ndarray, seed: int) -> Networks:
    """Students of half the steps, of other widths; with other temperatures and mixes."""
    for network in (PLAINLY, DISTILLED):
        recipe = replace(recipes[network], steps=recipes[network].steps // 2)
        yield _setting(point, network, recipe, HALF), point.trained(recipe, seed, soft)
    for width, network in product(WIDTHS, (PLAINLY, DISTILLED)):
        recipe = replace(recipes[network], hidden=(width, width))
        yield _setting(point, network, recipe, WIDTH), point.trained(recipe, seed, soft)
    if point.name not in MAPPED:
        return
    own = STUDENT.temperature, STUDENT.mix
    for temperature, mix in product(TEMPERATURES, MIXES):
        if (temperature, mix) != own:
            recipe = replace(recipes[DISTILLED], temperature=temperature, mix=mix)
            model = point.trained(recipe, seed, soft)
            yield _setting(point, DISTILLED, recipe, MAP), model


def _setting(point: Point, network: str, recipe: Recipe, study: str = "labels") -> Setting:
    helped = network in HELPED
    return Setting(
        study=study,
        scenario=point.name,
        labels=point.labels,
        dependence=point.dependence,
        network=network,
        width=recipe.hidden[0],
        temperature=recipe.temperature if helped else 0.0,
        mix=recipe.mix if helped else 1.0,
        weight_decay=recipe.weight_decay,
        steps=recipe.steps,
    )


def compare(
    regret: dict[Setting, np.ndarray], resamples: int, rng: np.random.Generator
) -> list[dict]:
    """The rows of a scenario's networks.

    Parameters
    ----------
    regret : dict of numpy.ndarray of float64, shape (K, S)
        By setting, regrets of K seeds on the same S tasks.
    resamples : int
        Of the bootstrap.
    rng : numpy.random.Generator

    Returns
    -------
    list of dict
        The rows of `distillation`, without p_holm.
    """
    means = bootstrap_means([*regret.values()], resamples, rng)
    resampled = dict(zip(regret, means.T))

    def gap(candidate: Setting, baseline: Setting) -> Gap:
        paired = regret[candidate] - regret[baseline]
        return interval(paired, resampled[candidate] - resampled[baseline])

    rows = []
    for setting, values in regret.items():
        level = interval(values, resampled[setting])
        row = setting._asdict() | {"seeds": len(values), "regret": level.value}
        row |= {"regret_low": level.low, "regret_high": level.high}
        if setting.network in HELPED:
            plain, teacher = _beside(regret, setting, PLAINLY), _beside(regret, setting, TEACHES)
            row["teacher_better"] = gap(teacher, plain).high < 0
            change = gap(setting, plain)
            row |= {"difference": change.value, "difference_low": change.low}
            row |= {"difference_high": change.high, "p": change.p}
        rows.append(row)
    return rows


def _beside(regret: dict[Setting, np.ndarray], setting: Setting, network: str) -> Setting:
    """The teacher of a student, or the plain student of its width and steps."""
    (found,) = (
        other
        for other in regret
        if other.network == network
        and (other.labels, other.dependence) == (setting.labels, setting.dependence)
        and (network == TEACHES or (other.width, other.steps) == (setting.width, setting.steps))
    )
    return found


def interval(values: np.ndarray, resampled: np.ndarray) -> Gap:
    """The mean of values (K, S) over seeds and tasks, with its interval by Student's t.

    The standard deviation is the bootstrap's, over seeds and tasks; its degrees of freedom are
    Satterthwaite's.
    """
    mean, deviation = values.mean(), resampled.std(ddof=1)
    freedom = effective_freedom([values.mean(1)], deviation**2)
    half = stats.t.ppf(0.975, freedom) * deviation
    if deviation:
        p = 2 * stats.t.sf(abs(mean) / deviation, freedom)
    else:
        p = float(mean == 0)
    return Gap(mean, mean - half, mean + half, p)
