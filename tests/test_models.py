"""Models that others published: found in folders and wheels, one row each, whatever they cause."""

import os
from zipfile import ZipFile

import pytest

from experiments import models
from experiments.models import Model, models_of, public_models
from experiments.run import get_run
from tests.anygraph.onnx_models import diamond, node, saved


def dying_row(run, model, testbed):
    """In place of what a model does to its process."""
    if "dying" in model.name:
        os._exit(1)
    return models._row(run, model, testbed)


@pytest.fixture
def folder(tmp_path):
    """A model, a copy of it in a wheel, another in the wheel, and one that is none."""
    found = tmp_path / "models"
    found.mkdir()
    file = diamond(found / "b.onnx")
    other = saved(
        tmp_path / "other.onnx",
        [node("Relu", ["x"], ["y"])],
        [("x", ["batch", "width"])],
        [("y", None)],
    )
    with ZipFile(found / "pack-1.0-py3-none-any.whl", "w") as wheel:
        wheel.write(file, "pack/data/copy.onnx")
        wheel.write(other, "pack/data/a.onnx")
    (found / "broken.onnx").write_bytes(b"no model")
    return found


def test_models_of_a_folder_and_of_wheels(folder, tmp_path, monkeypatch):
    monkeypatch.setattr(models, "LIGHT", tmp_path / "none")
    found = models_of(folder, tmp_path / "unpacked")
    assert [model.name for model in found] == ["b.onnx", "broken.onnx", "pack/a.onnx"]
    with pytest.raises(ValueError, match=r"no \.onnx file below it, nor in a \.whl file"):
        models_of(tmp_path / "none", tmp_path)


def test_the_models_of_the_onnx_package_are_there_without_a_folder(tmp_path):
    found = models_of(None, tmp_path)
    assert len(found) >= 9 and all(model.name.startswith("onnx/") for model in found)


def test_every_model_is_a_row(folder, tmp_path, monkeypatch):
    monkeypatch.setattr(models, "LIGHT", tmp_path / "none")
    found = [Model("dying.onnx", folder / "b.onnx"), *models_of(folder, tmp_path / "unpacked")]
    table = public_models(get_run("paper"), found, row_of=dying_row).set_index("model")
    assert table.planned.to_dict() == {
        "dying.onnx": False, "b.onnx": True, "broken.onnx": False, "pack/a.onnx": True,
    }  # fmt: skip
    assert table.words["dying.onnx"] == "its process died"
    assert table.words["broken.onnx"].startswith("broken.onnx: not an ONNX model")
    done = table[table.planned]
    assert done[["equal", "random_equal"]].eq(True).all(axis=None) and done.words.eq("").all()
    assert done.operators.to_dict() == {"b.onnx": 5, "pack/a.onnx": 1}
