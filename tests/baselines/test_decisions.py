"""Saved decisions: whole, and for the tasks that they were made for."""

import numpy as np
import pytest

from experiments.baselines.decisions import save_decisions, saved_decisions
from experiments.run import generate


def test_damaged_or_foreign_decisions_are_refused(fresh):
    generate(fresh, "chain", "test")
    with pytest.raises(ValueError, match=r"dqn_chain_0\.npz is missing"):
        saved_decisions(fresh, "dqn", "chain", 0)
    placements = np.arange(1000, dtype=np.int8).reshape(100, 10) % 3
    save_decisions(fresh, "dqn", "chain", 0, placements, episodes=5)
    found = saved_decisions(fresh, "dqn", "chain", 0)
    assert found.dtype == np.int8 and np.array_equal(found, placements)

    path = fresh.decisions_path("dqn", "chain", 0)
    content = path.read_bytes()
    for damaged in (content[: len(content) // 2], b""):
        path.write_bytes(damaged)
        with pytest.raises(ValueError, match=r"dqn_chain_0\.npz is truncated or altered"):
            saved_decisions(fresh, "dqn", "chain", 0)

    generate(fresh, "dag", "test")
    fresh.decisions_path("dqn", "dag", 0).write_bytes(content)
    with pytest.raises(ValueError, match=r"dqn_dag_0\.npz was made for other test tasks"):
        saved_decisions(fresh, "dqn", "dag", 0)
