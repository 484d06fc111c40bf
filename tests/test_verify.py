"""`make verify` and `make figures`, on small runs and on the committed tables."""

from dataclasses import replace

import matplotlib.pyplot as plt
import pytest

from experiments import redraw, verify
from experiments.claims.judge import judge
from experiments.run import Run, get_run, read_table, save_table
from experiments.studies import inference_time, labels
from tests.claims.tables import all_tables

PAPER = get_run("paper")


def test_every_figure_can_be_drawn_anew():
    assert {path.stem for path in PAPER.figures.glob("*.png")} <= set(redraw.FIGURES)


@pytest.mark.parametrize("name", redraw.FIGURES)
def test_a_figure_is_drawn_from_its_saved_tables(name):
    figure = redraw.draw(PAPER, name)
    assert figure.get_suptitle() and figure.axes
    plt.close("all")


@pytest.fixture
def source(tiny, tmp_path, monkeypatch) -> Run:
    """A repository with the tiny run's models, but for some, and made-up tables and proofs."""
    monkeypatch.setattr(labels, "prove", lambda tasks, seed: all_tables()["proofs"])
    run = Run(tiny.profile, tmp_path / "source")
    for name in ("models", "decisions"):
        folder = run.out / "data" / name
        folder.mkdir(parents=True)
        for path in (tiny.out / "data" / name).glob("*.*"):
            if not path.name.startswith(("random_forest", "teacher_chain_1")):
                (folder / path.name).symlink_to(path)
    for name, table in all_tables().items():
        save_table(run, name, table.fillna({"mean_us": 1.0}))
    save_table(run, "claims", judge(run))
    return run


def test_what_has_models_is_made_anew_and_the_rest_named(source, tmp_path, monkeypatch, capsys):
    def in_this_process(function, run, *arguments, what):
        return [function(p, run, *arguments) for p in range(run.profile.processes)]

    monkeypatch.setattr(inference_time, "in_fresh_processes", in_this_process)
    monkeypatch.setattr(verify, "SHOWN", ("chain",))
    run = Run(replace(source.profile, train=100), tmp_path / "out")
    with pytest.raises(SystemExit, match="verdicts differ"):  # the reference is made up
        verify.verify(run, source)
    lines = capsys.readouterr().out.splitlines()
    assert "teacher: 1 of 2 trainings" in lines
    assert "random_forest: not verified, it needs training" in lines
    text = "not verified      C4b all, a teacher lowers regret: reference: 2 settings, partly"
    assert f"{text}; it needs training" in lines
    assert [line for line in lines if line.startswith("same              C3 all, ")]
    paired, latency = (read_table(run, name) for name in ("paired", "latency"))
    made = paired[paired.seeds.notna()]
    assert set(made.scenario) == {"chain"} and "random_forest" not in set(made.policy)
    teacher = latency[(latency.policy == "teacher") & (latency.scenario == "chain")]
    assert teacher.seed.tolist() == [0]
    assert {p.name for p in run.figures.glob("*.png")} == {"latency.png", "tradeoff.png"}


def test_one_claim_takes_its_own_steps_alone(source, tmp_path, capsys):
    run = Run(source.profile, tmp_path / "out")
    verify.verify(run, source, "C3")
    *before, last = capsys.readouterr().out.splitlines()
    assert before[-1].startswith("prove: ") and last.startswith("same              C3 all, ")
    assert not [line for line in before if line.startswith(("decide", "measure"))]
    with pytest.raises(ValueError, match="claim: 'C9', expected one of C1, C2, C3"):
        verify.verify(run, source, "C9")


def test_parts_of_a_claim_belong_to_it():
    assert verify.concerns(verify.measure, "C4") and verify.concerns(verify.decide, "C5a")
    assert [step for step in verify.STEPS if verify.concerns(step, "C4b")] == [verify.decide]
    assert not any(verify.concerns(step, "C7") for step in verify.STEPS)
