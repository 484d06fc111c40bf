"""The repository as a reader finds it."""

import json
import re

import pytest

from experiments.claims.readme import BEGIN, END, expected, summary
from experiments.run import ROOT, get_run, read_table

PAPER = get_run("paper")
COLUMNS = {
    "latency": "scenario policy seed n_test mean_delay_ms normalised_mean normalised_p99 "
    "regret_mean regret_ci_low regret_ci_high label_accuracy subset_accuracy hamming_loss",
    "inference_time": "scenario policy runtime n_subtasks median_us p99_us parameters macs bytes",
    "label_generation": "scenario method n_subtasks workers samples seconds samples_per_second",
    "claims": "claim scenario statement metric value ci_low ci_high reference verdict",
}


@pytest.mark.parametrize("name", COLUMNS)
def test_reference_tables_have_their_columns_and_provenance(name):
    table = read_table(PAPER, name)
    assert set(COLUMNS[name].split()) <= set(table.columns) and len(table)
    about = json.loads((PAPER.figures / f"{name}.json").read_text(encoding="utf-8"))
    assert about["profile"] == "paper" and {"seed", "versions", "sha256"} <= set(about)


def test_every_saved_table_is_unaltered_and_of_the_reference():
    for path in PAPER.figures.glob("*.csv"):
        read_table(PAPER, path.stem)
        about = json.loads(path.with_suffix(".json").read_text(encoding="utf-8"))
        assert about["profile"] == "paper", path.name


def test_every_figure_is_there_twice():
    names = {p.stem for p in PAPER.figures.glob("*.png")}
    assert names == {p.stem for p in PAPER.figures.glob("*.pdf")} and len(names) >= 10


def test_the_readme_and_the_appendix_have_the_tables_results():
    claims, latency = (read_table(PAPER, name) for name in ("claims", "latency"))
    blocks = {"README.md": summary(claims, latency), "ARTIFACT.md": expected(claims)}
    for name, block in blocks.items():
        text = (ROOT / name).read_text(encoding="utf-8")
        assert text[text.index(BEGIN) + len(BEGIN) : text.index(END)].strip() == block


def test_the_readme_is_short_and_all_links_lead_somewhere():
    assert len((ROOT / "README.md").read_text(encoding="utf-8").split()) <= 1500
    for page in (ROOT / "README.md", ROOT / "ARTIFACT.md", *(ROOT / "docs").glob("*.md")):
        for link in re.findall(r"\]\(([^)#]+)[^)]*\)", page.read_text(encoding="utf-8")):
            assert link.startswith("https://") or (page.parent / link).exists(), (page, link)


def test_pins_stand_in_one_place():
    requirements = (ROOT / "requirements.txt").read_text(encoding="utf-8")
    pins = dict(re.findall(r"^([\w-]+)==(\S+)$", requirements, re.M))
    environment = (ROOT / "environment.yml").read_text(encoding="utf-8")
    listed = re.findall(r"- ([\w-]+)==(\S+)", environment)
    assert len(listed) > 20 and all(pins[name] == version for name, version in listed)


def test_every_supported_python_is_named_alike():
    texts = [(ROOT / f).read_text() for f in ("pyproject.toml", ".ci/check.py", "README.md")]
    assert 'requires-python = ">=3.11,<3.14"' in texts[0] and "(3, 11), (3, 13)" in texts[1]
    assert "Python 3.11 to 3.13" in texts[1] and "Python 3.11 to 3.13" in texts[2]


def test_the_readmes_lines_of_python_run(capsys, monkeypatch):
    """The block "From Python", with the trained network that the repository brings."""
    monkeypatch.chdir(ROOT)
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    block = re.search(r"From Python.*?\n\n```python\n(.*?)```", text, re.S).group(1)
    exec(compile(block, "README.md", "exec"), {})
    mean_delay, normalised = map(float, capsys.readouterr().out.split())
    assert 0 < mean_delay < 10 and 1 <= normalised < 1.02
