"""Do the verdicts survive other ranges? The paper's networks are trained anew in each."""

from __future__ import annotations

from dataclasses import replace
from zlib import crc32

import numpy as np
import pandas as pd

from ..artifact import Run
from ..delay import delay
from ..distill import PLAIN, STUDENT, TEACHER, fit
from ..graphs import dag
from ..labels import Labelled, solve
from ..models import Model, logits
from ..parallel import in_parallel
from ..rivals.policies import ANY, OURS, POLICIES, learned, opened, policies_for
from ..tasks import MBIT, Ranges, sample_tasks
from .conditions import generator, placed, table_of
from .quality import Decisions, paired_rows
from .verdicts import lower_regret

VARIANTS = {
    # The same budgets in the artifact's own ranges: what the others are compared with.
    "default": Ranges(),
    # A crowded cell, a rural backhaul.
    "slow_network": Ranges(B_up=(1 * MBIT, 10 * MBIT), B_wan=(3 * MBIT, 30 * MBIT)),
    # An edge server as quick as the cloud, but for its queue.
    "fast_edge": Ranges(f_1=(16e9, 48e9)),
    # A data centre on another continent.
    "far_cloud": Ranges(tau_wan=(60e-3, 250e-3)),
    # Deep networks' layers in place of filters.
    "heavy_tasks": Ranges(cycles=(1e8, 5e9)),
    # A microcontroller or a wearable.
    "weak_device": Ranges(f_0=(0.1e9, 0.5e9)),
}
ANEW = ("teacher", "student", "student_plain")


def sensitivity(run: Run, variants=VARIANTS) -> pd.DataFrame:
    """The verdict of claim C5 in each variant of the ranges, on `dag`.

    Columns: variant, policy, seed, regret of that seed; then over all seeds, as in `paired`, the
    policy's regret_low and regret_high, and each of OURS minus it (student's: regret_difference;
    student_any's: any_regret_difference; _low, _high alone and _all_low, _all_high for
    all rivals together); and the verdicts, student_verdict and student_any_verdict. Slow:
    minutes a variant.
    """
    seeds = run.profile.seeds[: run.profile.other_seeds]
    todo = [(run, v, ranges, seed) for v, ranges in variants.items() for seed in seeds]
    models = in_parallel(_trained_anew, todo, "networks of other ranges")
    taught = [models[at : at + len(seeds)] for at in range(0, len(models), len(seeds))]
    todo = [(run, *variant, networks) for variant, networks in zip(variants.items(), taught)]
    return table_of(_rows, todo, "other ranges")


def _drawn(count: int, ranges: Ranges, rng: np.random.Generator) -> Labelled:
    tasks = sample_tasks(dag(), count, rng, ranges)
    return Labelled(tasks, *solve(dag(), tasks)[:3])


def _trained_anew(run, variant, ranges, seed) -> list[Model]:
    """The networks of ANEW, trained on tasks drawn from `ranges` and their exact labels."""
    p = run.profile
    rng = np.random.default_rng([p.seed, crc32(variant.encode()), seed])
    train, held_out = _drawn(p.other_labels, ranges, rng), _drawn(p.other_validation, ranges, rng)
    models, few = [], p.other_epochs[1]
    for recipe, epochs in ((TEACHER, p.other_epochs[0]), (STUDENT, few), (PLAIN, few)):
        recipe = replace(recipe, epochs=epochs, batch=min(512, p.other_labels))
        soft = logits(models[0], train.tasks) if recipe.distilled else None
        models.append(fit(recipe, "dag", train, held_out, seed, soft)[0])
    return models


def _rows(run, variant, ranges, taught) -> list[dict]:
    """taught: the networks of ANEW, a list a seed."""
    graph, rng, p = dag(), generator(run, variant), run.profile
    test, seeds = _drawn(p.other_test, ranges, rng), [models[0].seed for models in taught]
    policies = {name: [POLICIES[name].place] for name in policies_for(graph)}
    policies |= {role: [learned(m) for m in models] for role, models in zip(ANEW, zip(*taught))}
    known = {seed: opened(run, ANY, "dag", seed) for seed in p.any_seeds[: p.other_seeds]}
    policies[ANY] = [learned(model) for model in known.values()]
    trained, results = {role: seeds for role in ANEW} | {ANY: [*known]}, {}
    for policy, xs in placed(policies, graph, test.tasks).items():
        own = zip(trained.get(policy, [""]), xs)
        results[policy] = [Decisions(seed, x, delay(graph, test.tasks, x)) for seed, x in own]
    paired = pd.DataFrame(paired_rows(variant, test, results, p.cell_resamples, rng))
    paired = paired.set_index("policy")
    verdicts = {f"{own}_verdict": lower_regret(paired, own).verdict for own in OURS}
    kept = [c for c in paired if c in ("regret_low", "regret_high") or "regret_difference" in c]
    rows = []
    for policy, per_seed in results.items():
        over_all = paired.loc[policy, kept].to_dict() | verdicts
        for seed, _, d in per_seed:
            row = {"variant": variant, "policy": policy, "seed": seed}
            rows.append(row | {"regret": (d / test.delays).mean() - 1} | over_all)
    return rows
