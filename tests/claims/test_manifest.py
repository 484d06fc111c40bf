"""All committed results are those of the manifest, and nothing else enters it."""

import shutil
import subprocess

import pytest

from kd_offload.artifact import ROOT, sha256
from kd_offload.claims import manifest
from kd_offload.claims.manifest import NAME, differences, listed, results, take_up


def test_every_committed_result_is_as_the_manifest_has_it():
    assert differences(listed(), results()) == [] and len(listed()) > 200
    if (ROOT / ".git").exists() and shutil.which("git"):
        folders = ["figures", "data", "exports", "notebooks/executed"]
        command = ["git", "ls-files", *folders]
        done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
        assert set(done.stdout.split()) <= set(listed())


@pytest.fixture
def root(tmp_path):
    """A small repository of results, listed."""
    for path in ("figures/a.csv", "figures/design.csv", "figures/.a.mark", "exports/s.c",
                 "data/models/student_dag_0.npz", "data/models/student_plain_dag_0.npz",
                 "data/models/teacher_dag_0.npz", "notebooks/executed/01.ipynb"):  # fmt: skip
        (tmp_path / path).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / path).write_text(path)
    take_up(["."], tmp_path)
    return tmp_path


def test_what_differs_is_named(root):
    assert len(listed(root)) == 5 and not differences(listed(root), results(root))
    done = subprocess.run(["sha256sum", "-c", "--status", NAME], cwd=root)
    assert done.returncode == 0
    (root / "figures/a.csv").write_text("edited")
    (root / "figures/b.png").write_text("new")
    (root / "exports/s.c").unlink()
    assert differences(listed(root), results(root)) == [
        "exports/s.c is missing", "figures/a.csv was altered", "figures/b.png is not listed",
    ]  # fmt: skip


def test_only_what_was_made_is_taken_up(root):
    before, stamp = (root / NAME).read_text(), root / "07.done"
    (root / "figures/a.csv").write_text("made anew")
    stamp.write_text(f"{sha256(root / 'figures/a.csv')}  figures/a.csv\n{'0' * 64}  build/x\n")
    (root / "figures/design.csv").write_text("edited by hand")
    with pytest.raises(ValueError, match=r"results: figures/design\.csv was altered; restore it"):
        take_up([str(stamp)], root)
    assert (root / NAME).read_text() == before
    take_up([str(stamp), "slow"], root)
    assert not differences(listed(root), results(root))
    (root / "figures/a.csv").write_text("edited after the step")
    with pytest.raises(ValueError, match=r"figures/a\.csv was altered"):
        take_up([str(stamp), "exports"], root)
    take_up(["figures"], root)
    first = (root / NAME).read_text()
    take_up(["exports"], root)
    assert (root / NAME).read_text() == first != before


@pytest.mark.parametrize(
    "edit", [lambda t: "", lambda t: t[: len(t) // 2], lambda t: t.replace("  ", " ", 1), None]
)
def test_a_damaged_manifest_is_named(root, edit, monkeypatch):
    text = (root / NAME).read_text()
    (root / NAME).unlink() if edit is None else (root / NAME).write_text(edit(text))
    monkeypatch.setattr(manifest, "listed", lambda: listed(root))
    monkeypatch.setattr(manifest, "results", lambda: results(root))
    with pytest.raises(SystemExit, match=r"error: .*(is missing or altered|is altered|not listed)"):
        manifest.main([])
