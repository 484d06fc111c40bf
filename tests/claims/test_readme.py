"""The generated blocks of README.md and ARTIFACT.md, of claims that are made up."""

import pytest

from experiments.claims import readme
from experiments.claims.readme import (
    BEGIN,
    END,
    conclusion,
    expected,
    run_time,
    summary,
    write_block,
)
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
    assert "fusion **undecided**" in c1
    assert "higher label accuracy usually, but not always, means lower regret" in c2
    assert "0 of 1,000 labels checked differ" in c3 and "| **supported** |" in c3
    assert "without a teacher is -10 points [-11, -9] on `chain`" in c4 and ": lower." in c4
    assert "lowers regret in 2 of 5 settings (2 of 3 with 2,000 labels" in c4
    assert "raises it in 1. The teacher takes 6.0 (" in c4
    assert "smaller and quicker: **supported**; lower regret: **supported**; in all settings:" in c4
    assert "beats 8 of 8 on `chain`, 7 of 7 on `dag`" in c5 and "beats 0 of 1 (worse: beam_8)" in c5
    assert "usual baselines: **supported** (partly); searches: **not supported** |" in c5
    assert "| 10 % [9, 11] regret on `chain` |" in c5
    assert "quicker than 5 of 5 on `chain`" in c6
    assert "means over 50 test tasks and 1 training seeds" in block


def test_the_conclusion_is_that_of_the_table(judged):
    """The student is best where what has less regret takes longer."""
    _, claims = judged
    assert conclusion(claims).startswith(
        "**What the artifact concludes:** the distilled student is the best choice on `chain` (10 "
        "subtasks, 3 µs; at 3 times the time, `anygraph` has lower regret), on `dag` (10 subtasks"
    )
    assert "without a teacher" not in conclusion(claims)
    edited, of_student = claims.copy(), claims.policy == "student"
    extension = (
        of_student & (claims.quantity == "inference_delay_ratio") & (claims.baseline == "anygraph")
    )
    edited.loc[extension & (claims.scenario == "dag"), "outcome"] = "undecided"
    plain = of_student & (claims.baseline == "student_plain") & (claims.claim == "C4b")
    edited.loc[plain & (claims.scenario == "fusion"), "outcome"] = "tied"
    text = conclusion(edited)
    assert "not on `dag` (10 subtasks, 3 µs; `anygraph` is as quick and has lower regret)" in text
    assert text.endswith("; on `fusion`, a student trained without a teacher is not significantly "
                         "worse.")  # fmt: skip
    edited.loc[extension, "outcome"] = "undecided"
    assert "is the best choice nowhere; it is not on `chain` (" in conclusion(edited)


def test_other_verdicts_make_other_words(judged):
    run, claims = judged
    edited = claims.assign(verdict=claims.verdict.where(claims.verdict == NO_VERDICT, SUPPORTED))
    c5 = summary(edited, read_table(run, "latency")).splitlines()[6]
    assert "| usual baselines: **supported**; searches: **supported** | [06]" in c5


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
    names = {*readme.NOTEBOOKS.values(), readme.SETTINGS}
    steps = {readme.STEPS.get(name, name) for name in names}
    for step in {*steps, *names}:
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
