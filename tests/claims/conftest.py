"""A run whose claims are judged on tables made up."""

import pytest

from experiments.claims.judge import judge
from experiments.profiles import SMOKE
from experiments.run import Run, save_table
from tests.claims.tables import all_tables


@pytest.fixture(scope="session")
def judged(tmp_path_factory):
    """A run with all tables, to be left as it is, and its claims as saved."""
    run = Run(SMOKE, tmp_path_factory.mktemp("judged"))
    for name, table in all_tables().items():
        save_table(run, name, table)
    return run, save_table(run, "claims", judge(run))
