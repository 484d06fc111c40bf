"""The exports in the repository are the trained models', and the card tells of every one."""

import shutil
import sys
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from anygraph import c_text, open_network, save_network
from anygraph.c_text import compile_c
from experiments import export as card
from experiments.run import ROOT, save_table
from experiments.runtimes.c import export_c, run_c
from experiments.runtimes.onnx import export_onnx, open_onnx, run_onnx
from experiments.scenarios import SHOWN, scenario
from kd_offload.model import open_model, save
from kd_offload.tasks import sample_tasks


@pytest.mark.skipif(not shutil.which("cc"), reason="no C compiler")
@pytest.mark.parametrize("name", SHOWN)
def test_the_trained_students_agree_with_torch(name, assert_agree, tmp_path):
    """20,000 fresh tasks, ONNX Runtime and plain cc; the committed files are the models'."""
    graph = scenario(name).graph
    model = open_model(ROOT / "data" / "models" / f"student_{name}_0.npz")
    tasks = sample_tasks(graph, 20_000, np.random.default_rng(7))
    kept = ROOT / "exports" / f"student_{name}"
    session = open_onnx(kept.with_suffix(".onnx"), graph)
    assert_agree(run_onnx(session, tasks), model, tasks)
    compile_c(kept.with_suffix(".c"), tmp_path / "student", flags=())
    assert_agree(run_c(tmp_path / "student", tasks), model, tasks)
    size = export_c(model, tmp_path / "again.c", card.LIMIT)
    export_onnx(model, tmp_path / "again.onnx")
    for suffix in (".c", ".h", ".onnx"):
        again = tmp_path / f"again{suffix}"
        assert again.read_bytes() == kept.with_suffix(suffix).read_bytes()
    assert size.constants <= (card.LIMIT if name == "fusion" else c_text.LIMIT)
    text = (ROOT / "exports" / "README.md").read_text(encoding="utf-8")
    assert f"| {size.constants} |" in text


def test_the_card_tells_of_every_model(fresh, untrained, monkeypatch, capsys):
    for name in SHOWN:
        model, _ = untrained(scenario(name).graph)
        save(replace(model, role="student"), fresh.model_path("student", name, 0))
    network = open_network(ROOT / "data" / "models" / "anygraph_0.npz")
    save_network(network, fresh.model_path("anygraph", "", 0))
    keys = [(role, name, 0) for name in SHOWN for role in ("student", "anygraph")]
    table = pd.DataFrame(keys, columns=["policy", "scenario", "seed"]).assign(regret_mean=0.1234)
    save_table(fresh, "latency", table)
    folder = fresh.out / "exports"
    monkeypatch.setattr(card, "get_run", lambda profile: fresh)
    monkeypatch.setattr(sys, "argv", ["card", "--out", str(folder)])
    card.main()
    students = {f"student_{name}.{end}" for name in SHOWN for end in ("c", "h", "onnx")}
    written = {file.name for file in folder.iterdir()}
    assert written == students | {"anygraph.c", "anygraph.h", "README.md"}
    text = (folder / "README.md").read_text(encoding="utf-8")
    assert f"more than {card.LIMIT:,} bytes of constants" in text
    assert text.count("12.34 %") == 6 and all(f"`student_{name}`" in text for name in SHOWN)
    assert text.count("| `tau_wan` | s | ") == 2 and "| `w_i` | cycles | " in text
    (fresh.figures / "latency.csv").unlink()
    with pytest.raises(SystemExit, match=r"error: table: latency\.csv is missing"):
        card.main()
