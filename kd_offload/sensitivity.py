"""Do the verdicts survive other ranges of the formulation? Everything trained anew in each, with modest budgets."""

from __future__ import annotations

from dataclasses import dataclass, replace
from zlib import crc32

import numpy as np
import pandas as pd

from .claims import latency
from .config import Run
from .dataset import Labelled, scenario
from .delay import delay
from .evaluation import OURS, paired_rows
from .graphs import dag
from .labels import solve
from .learning import RECIPES, Model, fit, in_parallel, logits
from .policies import REGISTRY, learned, policies_for
from .questions import placed
from .sampling import MBIT, Ranges, sample_tasks
from .tuning import fit_tuned, tuning

VARIANTS = {
    "default": Ranges(),  # the same budgets in the artifact's own ranges: what the others are compared with
    "slow_network": Ranges(B_up=(1 * MBIT, 10 * MBIT), B_wan=(3 * MBIT, 30 * MBIT)),  # a crowded cell, a rural backhaul
    "fast_edge": Ranges(f_1=(16e9, 48e9)),  # an edge server as quick as the cloud, but for its queue
    "far_cloud": Ranges(tau_wan=(60e-3, 250e-3)),  # a data centre on another continent
    "heavy_tasks": Ranges(cycles=(1e8, 5e9)),  # deep networks' layers in place of filters
    "weak_device": Ranges(f_0=(0.1e9, 0.5e9)),  # a microcontroller or a wearable
}
ANEW = ("teacher", "student", "student_plain", "student_verified")


@dataclass(frozen=True)
class Sizes:
    """Budgets in each variant; steps: of imitation and of fine-tuning."""

    labels: int = 40_000
    validation: int = 2000
    test: int = 5000
    teacher_epochs: int = 3
    student_epochs: int = 20
    steps: tuple[int, int] = (1500, 1000)
    seeds: int = 3
    resamples: int = 500


SIZES = {
    "paper": Sizes(),
    "smoke": Sizes(2000, 200, 300, 2, 4, (60, 30), 2, 100),
    "tiny": Sizes(200, 50, 50, 1, 1, (4, 3), 2, 20),
}


def sensitivity(run: Run, variants=VARIANTS) -> pd.DataFrame:
    """The verdict of claim C5 in each variant of the ranges, on `dag`.

    Columns: variant, policy, seed, regret of that seed; then over all seeds, as in `paired`, the policy's regret_low and
    regret_high, and each of OURS minus it (student's: regret_difference; student_verified's: verified_regret_difference;
    _low, _high alone and _all_low, _all_high for all rivals together); and the verdicts, student_verdict and
    student_verified_verdict. Slow: minutes a variant.
    """
    sizes = SIZES.get(run.profile.name, SIZES["paper"])
    seeds = run.profile.seeds[: sizes.seeds]
    todo = [(run, sizes, variant, variants[variant], seed) for variant in variants for seed in seeds]
    models = iter(in_parallel(_trained_anew, todo, "networks of other ranges"))
    taught = {variant: [next(models) for _ in seeds] for variant in variants}
    return pd.DataFrame([row for v, ranges in variants.items() for row in _rows(run, sizes, v, ranges, taught[v])])


def _drawn(count: int, ranges: Ranges, rng: np.random.Generator) -> Labelled:
    tasks = sample_tasks(dag(), count, rng, ranges)
    return Labelled(tasks, *solve(dag(), tasks))


def _trained_anew(run, sizes, variant, ranges, seed) -> list[Model]:
    """The networks of ANEW, trained on tasks drawn from `ranges` and their exact labels."""
    rng = np.random.default_rng([run.profile.seed, crc32(variant.encode()), seed])
    train, held_out = _drawn(sizes.labels, ranges, rng), _drawn(sizes.validation, ranges, rng)
    batch, few = min(512, sizes.labels), sizes.student_epochs
    teacher, _ = fit(RECIPES["teacher"], "dag", train, held_out, sizes.teacher_epochs, batch, seed)
    soft = logits(teacher, train.tasks)
    student, _ = fit(RECIPES["student"], "dag", train, held_out, few, batch, seed, soft)
    plain, _ = fit(RECIPES["student_plain"], "dag", train, held_out, few, batch, seed)
    recipe = replace(tuning(run, "student_verified", "dag"), imitation_steps=sizes.steps[0], delay_steps=sizes.steps[1])
    verified, _ = fit_tuned(recipe, "dag", scenario("dag"), train, held_out, seed, ranges)
    return [teacher, student, plain, verified]


def _rows(run, sizes, variant, ranges, taught) -> list[dict]:
    graph, rng = dag(), np.random.default_rng([run.profile.seed, crc32(variant.encode())])
    test = _drawn(sizes.test, ranges, rng)
    policies = {p: [REGISTRY[p]] for p in policies_for(graph)}
    policies |= {role: [learned(m) for m in models] for role, models in zip(ANEW, zip(*taught))}
    results = {
        p: [(taught[k][0].seed if p in ANEW else "", x, delay(graph, test.tasks, x)) for k, x in enumerate(xs)]
        for p, xs in placed(policies, graph, test.tasks).items()
    }
    paired = pd.DataFrame(paired_rows(variant, test, results, sizes.resamples, rng)).set_index("policy")
    verdicts = {f"{own}_verdict": latency(variant, paired, own)[0]["verdict"] for own in OURS}
    kept = [c for c in paired if c in ("regret_low", "regret_high") or "regret_difference" in c]
    return [
        {"variant": variant, "policy": policy, "seed": seed, "regret": (d / test.delays).mean() - 1}
        | paired.loc[policy, kept].to_dict()
        | verdicts
        for policy, per_seed in results.items()
        for seed, _, d in per_seed
    ]
