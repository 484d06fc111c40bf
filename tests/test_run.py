"""Runs: data sets and tables are verified when read, damage is named, profiles stay apart."""

import json
import os
import signal
import subprocess
import sys
import time
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from experiments.profiles import PROFILES
from experiments.run import ROOT, Run, generate, get_run, load, read_table, save_table


@pytest.fixture
def run(fresh):
    return Run(replace(fresh.profile, block=50, train=120, test=120), fresh.out)


def test_a_data_set_is_the_same_each_time_and_says_what_it_was_made_from(run):
    path = generate(run, "dag", "test")
    first = path.read_bytes(), path.with_suffix(".json").read_bytes()
    data = load(run, "dag", "test")
    assert data.tasks.shape == (120, 33) and data.placements.dtype == np.int8
    about = json.loads(first[1])
    assert about["profile"] == "tiny" and {"seed", "versions", "sha256"} <= set(about)
    generate(run, "dag", "test")
    assert (path.read_bytes(), path.with_suffix(".json").read_bytes()) == first


@pytest.mark.parametrize("suffix", [".parquet", ".json"])
@pytest.mark.parametrize("damage", ["truncated", "altered", "missing", "of another graph"])
def test_a_damaged_data_set_is_named(run, damage, suffix):
    path = generate(run, "chain", "test").with_suffix(suffix)
    content = path.read_bytes()
    middle = len(content) // 2
    if damage == "missing":
        path.unlink()
    elif damage == "truncated":
        path.write_bytes(content[:middle])
    elif damage == "altered":
        path.write_bytes(content.replace(b"a", b"b"))
    else:
        for end in (".parquet", ".json"):
            other = generate(run, "dag", "test").with_suffix(end)
            path.with_suffix(end).write_bytes(other.read_bytes())
    with pytest.raises(ValueError, match=r"test\.parquet is missing, truncated or altered"):
        load(run, "chain", "test")


def test_a_killed_run_leaves_no_half_file(run):
    """The file that there was stays."""
    path = generate(run, "fusion", "train")
    before = path.read_bytes()
    code = (
        "import sys; from pathlib import Path; from dataclasses import replace;"
        "from experiments.run import Run, generate; from experiments.profiles import SMOKE;"
        "print('begun', flush=True);"
        "run = Run(replace(SMOKE, train=20_000), Path(sys.argv[1]));"
        "generate(run, 'fusion', 'train')"
    )
    child = subprocess.Popen(
        [sys.executable, "-c", code, str(run.out)],
        start_new_session=True,
        stdout=subprocess.PIPE,
        env=os.environ | {"PYTHONPATH": str(ROOT)},
    )
    child.stdout.readline()
    time.sleep(1)
    os.killpg(child.pid, signal.SIGKILL)
    child.wait()
    assert path.read_bytes() == before and len(load(run, "fusion", "train").tasks) == 120


def test_a_table_says_what_made_it_and_damage_is_named(fresh):
    frame = pd.DataFrame({"a": [1, 2]})
    assert save_table(fresh, "t", frame, models={"m": "x"}).equals(frame)
    first = (fresh.figures / "t.json").read_bytes()
    save_table(fresh, "t", frame, models={"m": "x"})
    assert (fresh.figures / "t.json").read_bytes() == first
    save_table(fresh, "t", frame, models={"m": "y"})
    assert (fresh.figures / "t.json").read_bytes() != first
    with pytest.raises(ValueError, match=r"table: u\.csv is missing"):
        read_table(fresh, "u")
    (fresh.figures / "u.csv").write_text("")
    (fresh.figures / "u.json").write_text("{}")
    with pytest.raises(ValueError, match=r"table: u\.csv cannot be read"):
        read_table(fresh, "u")
    (fresh.figures / "t.csv").write_text("a\n7\n")
    with pytest.raises(ValueError, match=r"table: t\.csv was altered"):
        read_table(fresh, "t")


def test_other_profiles_never_touch_the_reference_results():
    assert get_run("paper").out == ROOT
    assert get_run("smoke").out == ROOT / "build" / "smoke"
    with pytest.raises(ValueError, match="profile: 'papper', expected one of paper"):
        get_run("papper")


def test_profiles_differ_only_in_size():
    assert len({profile.seed for profile in PROFILES.values()}) == 1
