"""Where products go, and what they say of themselves: runs, whole files, tables, provenance.

A step of the Makefile is a notebook, and a notebook that runs computes its tables. What is costly
(shards, models, decisions) is `kept` while neither its inputs nor the code that made it change.
"""

from __future__ import annotations

import ast
import hashlib
import json
import os
import platform
from collections.abc import Callable
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from glob import escape
from importlib.metadata import version
from pathlib import Path

import pandas as pd

from .profiles import REFERENCE, Profile, get_profile

PACKAGE = Path(__file__).resolve().parent
CHECKOUT = (PACKAGE.parent / "notebooks").is_dir() and (PACKAGE.parent / "Makefile").is_file()
ROOT = PACKAGE.parent if CHECKOUT else Path.cwd()  # installed by itself: where it is called
# They carry products, or make inputs whose digests count by themselves.
PLUMBING = ("artifact", "parallel", "profiles", "scenarios", "dataset")
PACKAGES = ("numpy", "numba", "torch", "pandas", "matplotlib", "pyarrow")


@dataclass(frozen=True)
class Run:
    """One run: its profile and where its products go (`data`, `figures`, `models`)."""

    profile: Profile
    out: Path

    @property
    def lab(self) -> bool:
        """Whether this is an open notebook, which starts from the reference run's results."""
        return self.profile.name == "lab"

    @property
    def data(self) -> Path:
        """Folder of the data sets."""
        return self.out / "data"

    @property
    def models(self) -> Path:
        """Folder of the trained models."""
        return self.out / "data" / "models"

    @property
    def figures(self) -> Path:
        """Folder of the tables and figures."""
        return self.out / "figures"

    def found(self, path: Path) -> Path:
        """`path`; in an open notebook that lacks it, the reference run's file."""
        theirs = ROOT / path.relative_to(self.out)
        return theirs if self.lab and not path.exists() and theirs.exists() else path


def get_run(profile: str, out: str = "") -> Run:
    """The run of a profile. `out`: a folder, relative to the repository; by default the repository
    for `paper` and `full`, and `build/<profile>` for the others, which leave the reference
    alone. Raises ValueError for an unknown profile, and without `out` where there is no repository.
    """
    chosen = get_profile(profile)
    if not (CHECKOUT or out):
        raise ValueError("out: kd_offload runs without its repository, say which folder to use")
    return Run(chosen, ROOT / (out or ("." if profile in REFERENCE else f"build/{profile}")))


@contextmanager
def written_aside(path: Path):
    """A temporary path beside `path`, moved into its place only if the block succeeds.

    Its name tells the process; what a dead one of this machine has left of `path` is deleted.
    """
    path, node = Path(path), platform.node()
    path.parent.mkdir(parents=True, exist_ok=True)
    start, end = f".{path.stem}.{node}.", f".part{path.suffix}"
    for stale in path.parent.glob(f"{escape(start)}*{escape(end)}"):
        process = stale.name.removeprefix(start).removesuffix(end)
        if process.isdigit() and not _runs(int(process)):
            stale.unlink(missing_ok=True)
    aside = path.with_name(f"{start}{os.getpid()}{end}")
    try:
        yield aside
        os.replace(aside, path)
        _record(path)
    finally:
        aside.unlink(missing_ok=True)


def _runs(process: int) -> bool:
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    except OSError:
        pass
    return True


def _record(path: Path) -> None:
    """Tell the step that runs, if one does, of a product of its own."""
    if record := os.environ.get("KD_PRODUCTS"):
        with open(record, "a") as file:
            file.write(f"{path.resolve()}\n")


def save_json(path: Path, content: dict) -> None:
    """Write JSON whole or not at all."""
    with written_aside(path) as aside:
        aside.write_text(json.dumps(content, indent=1, default=str) + "\n")


def sha256(path: Path) -> str:
    """Digest of a file's content."""
    return hashlib.sha256(path.read_bytes()).hexdigest()


@cache
def _source(module: str) -> tuple[str, frozenset[str]]:
    """A module's code without comments and docstrings, and the modules of ours that it imports."""
    tree = ast.parse((PACKAGE / f"{module.replace('.', '/')}.py").read_text())
    imported = set()
    for node in ast.walk(tree):
        match node:
            case ast.ImportFrom(level=level) if level:
                base = [*module.split(".")[:-level], *(node.module or "").split(".")]
                names = [".".join(filter(None, base))]
                names += [f"{names[0]}.{a.name}".lstrip(".") for a in node.names]
                known = (n for n in names if (PACKAGE / f"{n.replace('.', '/')}.py").exists())
                imported.update(known)
        match getattr(node, "body", None):
            case [ast.Expr(value=ast.Constant(value=str())), *rest]:
                node.body = rest
    return ast.unparse(tree), frozenset(imported)


@cache
def code_digest(*modules: str) -> str:
    """Digest of modules (`"labels"`, `"beyond.training"`) and of what they import, all the way
    down; comments, docstrings and PLUMBING aside, templates (`.in`) beside them included."""
    known, todo = set(), set(modules)
    while todo:
        known |= todo
        todo = {n for m in todo for n in _source(m)[1]} - known - set(PLUMBING)
    digest = hashlib.sha256()
    for module in sorted(known):
        digest.update(_source(module)[0].encode())
    folders = {(PACKAGE / m.replace(".", "/")).parent for m in known}
    for template in sorted(f for folder in folders for f in folder.glob("*.in")):
        digest.update(template.read_bytes())
    return digest.hexdigest()[:16]


def fingerprint(code: str | tuple[str, ...], **about) -> str:
    """Digest of code (see `code_digest`) and of everything else a product depends on."""
    names = (code,) if isinstance(code, str) else code
    text = code_digest(*names) + json.dumps(about, sort_keys=True, default=str)
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def is_current(path: Path, mark: str) -> bool:
    """Whether `path` was made here under `mark` (a `fingerprint`) and is unaltered since."""
    try:
        current = _note(path).read_text() == _state(path, mark)
    except OSError:
        return False
    for product in (path, path.with_suffix(".json")) if current else ():
        _record(product)
    return current


def set_current(path: Path, mark: str) -> None:
    """Note, in a hidden file beside it, what `path` was made from. Notes are never committed: on a
    fresh clone everything is made anew."""
    with written_aside(_note(path)) as aside:
        aside.write_text(_state(path, mark))


def _state(path: Path, mark: str) -> str:
    """The mark, the digest of a product, and that of the .json that many have beside them."""
    beside = path.with_suffix(".json")
    return f"{mark} {sha256(path)} {sha256(beside) if beside.exists() else ''}"


def _note(path: Path) -> Path:
    return path.with_name(f".{path.name}.mark")


def kept(path: Path, mark: str, make: Callable[[], None]) -> Path:
    """`path`, made by `make()` unless it is current."""
    if not is_current(path, mark):
        make()
        set_current(path, mark)
    return path


def provenance(run: Run, **inputs) -> dict:
    """What made a product: profile, seed, digests of all code and of `inputs`, and versions.

    It changes only when one of these does: a rerun of the same code writes the same file.
    """
    modules = sorted(
        ".".join(f.relative_to(PACKAGE).with_suffix("").parts) for f in PACKAGE.rglob("*.py")
    )
    return {
        "profile": run.profile.name,
        "seed": run.profile.seed,
        "code": code_digest(*modules),
        "inputs": fingerprint((), **inputs) if inputs else None,
        "python": platform.python_version(),
        "versions": {p: version(p) for p in PACKAGES},
    } | {key: inputs[key] for key in ("processor",) if key in inputs}  # of tables of times


def save_table(run: Run, name: str, frame: pd.DataFrame, **inputs) -> pd.DataFrame:
    """Write `figures/<name>.csv` with its provenance as .json beside it; the table as read back."""
    path = run.figures / f"{name}.csv"
    with written_aside(path) as aside:
        frame.to_csv(aside, index=False, float_format="%.6g")
    save_json(path.with_suffix(".json"), {"sha256": sha256(path), **provenance(run, **inputs)})
    return read_table(run, name)


def read_table(run: Run, name: str) -> pd.DataFrame:
    """A saved table; ValueError naming it and what makes it if it is missing or altered."""
    path = run.found(run.figures / f"{name}.csv")
    try:
        frame, about = pd.read_csv(path), json.loads(path.with_suffix(".json").read_text())
    except FileNotFoundError as error:
        raise ValueError(
            f"table: {Path(error.filename).name} is missing; `make reproduce` or, if it is a slow "
            "one, `make full` makes it"
        ) from None
    except ValueError as error:  # pandas', json's and unicode's errors are all of them
        raise ValueError(
            f"table: {path.name} cannot be read ({error}); delete it and make it again"
        ) from None
    if about.get("sha256") != sha256(path):
        raise ValueError(
            f"table: {path.name} was altered since it was made; delete it and make it again"
        )
    return frame
