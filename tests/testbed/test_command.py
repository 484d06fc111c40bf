"""`python -m experiments.testbed`: what it runs, and what it says of what it cannot."""

import pandas as pd
import pytest

from experiments.testbed import __main__ as command
from experiments.testbed import sessions


@pytest.mark.parametrize(
    "options, asked",
    [
        ([], ("user", 2, True, None)),
        (["--mode", "tc", "--sessions", "3"], ("tc", 3, True, None)),
        (["--profile", "paper", "--compute", "real"], ("user", 10, False, None)),
        (["--compute", "real", "--mode", "tc"], ("tc", 1, False, None)),
    ],
)
def test_it_runs_what_it_is_told(options, asked, tmp_path, monkeypatch):
    calls = []
    monkeypatch.setattr(command, "refusal", lambda: "")
    monkeypatch.setattr(command, "save_measurements", lambda *_, **inputs: None)
    run_sessions = lambda run, mode, count, models, *how: calls.append((mode, count, *how)) or []
    monkeypatch.setattr(command, "run_sessions", run_sessions)
    command.main(["--out", str(tmp_path), *options])
    assert calls == [asked]


@pytest.mark.parametrize(
    "options, error",
    [
        (["--sessions", "0"], "sessions: 0, expected 1 or more"),
        (["--mode", "tc"], "mode: 'tc' cannot be had here: no root"),
        (["--mode", "tc", "--uplink", "6_down_2"], "uplink: the kernel's links follow no trace"),
        (["--uplink", "0.8_down_8"], "uplink: '0.8_down_8', expected one of 0.8_down_9, "),
        (["--uplink", __file__], f"trace: {__file__} cannot be read"),
        (["--models", "nowhere"], "is missing; give the folder of a run that has trained"),
        (["--profile", "papers"], "profile: 'papers', expected one of paper, smoke"),
    ],
)
def test_what_cannot_be_is_one_clear_error(options, error, tmp_path, monkeypatch):
    monkeypatch.setattr(command, "refusal", lambda: "no root")
    with pytest.raises(SystemExit) as raised:
        command.main(["--out", str(tmp_path), *options])
    assert str(raised.value).startswith("error: ") and error in str(raised.value)


@pytest.mark.parametrize(
    "options", [["--mode"], ["--mode", "air"], ["--sessions", "two"], ["--compute", "fast"]]
)
def test_an_option_without_a_right_value_is_named(options, capsys):
    with pytest.raises(SystemExit):
        command.main(options)
    assert f"argument {options[0]}" in capsys.readouterr().err


@pytest.mark.parametrize("compute, parts_of_a_chain", [("held", 4), ("real", 5)])
def test_a_session_runs_with_the_repository_s_networks(
    compute, parts_of_a_chain, tmp_path, monkeypatch, capsys
):
    """What the documentation says to type, with one network instead of three."""
    monkeypatch.setattr(sessions, "NETWORKS", ("mobilenetv2",))
    options = ["--sessions", "1", "--mode", "user", "--compute", compute]
    command.main(["--out", str(tmp_path), *options])
    table = pd.read_csv(tmp_path / "figures" / "testbed.csv")
    assert table.policy.tolist() == list(sessions.SHOWN) and table.compute.eq(compute).all()
    seconds = table[["predicted_s", "true_s", "counted_s", "measured_s", "decision_us"]]
    assert (seconds > 0).all(axis=None)
    is_measured = compute == "real"
    assert (table.true_s != table.counted_s).all() == is_measured
    assert (tmp_path / "figures" / "testbed_costs.csv").exists() == is_measured
    parts = pd.read_csv(tmp_path / "figures" / "testbed_parts.csv")
    assert parts.runs.eq(6).all() and len(parts) == parts_of_a_chain
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == 9 and not any("down" in line for line in lines)
