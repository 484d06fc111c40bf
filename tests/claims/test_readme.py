"""The generated blocks of README.md and ARTIFACT.md, of claims that are made up."""

import pytest

from experiments.claims import readme
from experiments.claims.readme import BEGIN, END, expected, run_time, summary, write_block
from experiments.claims.terms import NO_VERDICT, SUPPORTED
from experiments.run import ROOT, read_table

HEAD = """{{"cells": [{{"source": ["# 2. Title\\n", "| Run time | {} |"]}}]}}"""


def test_the_readme_tells_six_claims_from_the_table(judged):
    run, claims = judged
    block = summary(claims, read_table(run, "latency"))
    lines = block.splitlines()[2:8]
    assert [line[4:6] for line in lines] == ["C1", "C2", "C3", "C4", "C5", "C6"]
    c1, c2, c3, c4, c5, c6 = lines
    assert "captures 95 % on `chain`, 95 % on `dag` and 95 % on `fusion` of what" in c1
    assert "| 64 % [60, 68] of that saving in the worst octile, on `dag`; threshold: 80 %" in c1
    assert "fusion **undecided** between partly and supported" in c1
    assert "higher label accuracy usually, but not always, means lower regret" in c2
    assert "0 of 1,000 labels checked differ" in c3 and "| **supported** |" in c3
    assert "In 4 of 5 settings the teacher is significantly better" in c4
    assert "lowers regret in 1 (by 10.0 to 10.0 points) and raises it in 1." in c4
    assert c4.count("**supported**; whether distillation also lowers regret: **partly** |") == 1
    assert "beats 4 of 5 on `chain`, 3 of 4 on `dag`" in c5 and "It always loses to `beam_8`." in c5
    assert "| 10 % [9, 11] regret on `chain`; the best fixed placement has 60.0 % |" in c5
    assert "On no scenario" not in c6 and "quicker than 5 of 5 on `chain`" in c6
    assert "takes 10 (`chain`), 10 (`dag`) and 10 (`fusion`) times as long" in block
    assert "means over 50 test tasks and 1 training seeds" in block


def test_other_numbers_make_other_sentences(judged):
    run, claims = judged
    edited = claims.assign(verdict=claims.verdict.where(claims.verdict == NO_VERDICT, SUPPORTED))
    edited[["unfavourable", "favourable"]] = SUPPORTED
    compared = edited.quantity == "regret_difference"
    edited.loc[
        compared & (edited.policy == "student") & (edited.baseline == "greedy"), "outcome"
    ] = "worse"
    c5 = summary(edited, read_table(run, "latency")).splitlines()[6]
    assert "always loses to `greedy` and `beam_8`" in c5 or "`beam_8` and `greedy`" in c5
    assert "| **supported** | [06]" in c5


def test_every_verdict_has_a_command_and_a_number_to_expect(judged, tmp_path):
    _, claims = judged
    for step in {*readme.NOTEBOOKS.values(), *readme.STEPS.values()}:
        path = tmp_path / "notebooks" / f"{step}.ipynb"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(HEAD.format(f"about {step} minutes on two CPU cores"), encoding="utf-8")
    judged = claims[(claims.verdict != "-") & ~claims.scenario.str.startswith("networks")]
    lines = expected(claims, tmp_path).splitlines()[2:]
    assert len(lines) == len(judged)
    for line, record in zip(lines, judged.itertuples()):
        claim, where, command, time, text, allowed = line.strip("| ").split(" | ")
        assert (claim, where) == (record.claim, record.scenario)
        assert f"**{record.verdict}**" in text and record.metric in text
        step = command.removeprefix("`make build/paper/").removesuffix(".done`")
        assert time == f"about {step} minutes"
        assert allowed in ("a factor of 3", "10 %", "overlapping intervals")


def test_every_step_has_a_notebook_that_says_its_run_time(tmp_path):
    steps = {readme.STEPS.get(name, name) for name in readme.NOTEBOOKS.values()}
    for step in {*steps, *readme.NOTEBOOKS.values()}:
        assert run_time(ROOT / "notebooks" / f"{step}.ipynb")
    notebook = tmp_path / "02_labels.ipynb"
    notebook.write_text(HEAD.format("").replace("Run time", "Inputs"), encoding="utf-8")
    with pytest.raises(ValueError, match=r"02_labels\.ipynb: its first cell has no line"):
        run_time(notebook)


def test_a_block_goes_between_its_marks(tmp_path):
    page = tmp_path / "README.md"
    page.write_text(f"before µ\n{BEGIN}\nold\n{END}\nafter\n", encoding="utf-8")
    write_block(page, r"new \1")
    assert page.read_text(encoding="utf-8") == f"before µ\n{BEGIN}\nnew \\1\n{END}\nafter\n"
    page.write_text(f"before\n{BEGIN}\n", encoding="utf-8")
    with pytest.raises(ValueError, match=r"README\.md: the marks of the generated block are"):
        write_block(page, "new")
