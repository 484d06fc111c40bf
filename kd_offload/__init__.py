"""Knowledge distillation for mobile edge computation offloading: a reproducible artifact.

The paper: H. Chen, L. Zeng, S. Yu, X. Chen, "Knowledge Distillation for Mobile Edge Computation
Offloading", arXiv 2004.04366 (2020).

Read graphs, tasks, delay, labels, models, distill, in this order: they are the paper. The other
modules carry it, `scenarios` among them. The other folders are wings, each importing the core and
the wings named before it: beyond, proofs, rivals, studies, draw, device, claims.
"""

import atexit
import hashlib
import os
import shutil
import tempfile
from pathlib import Path

__version__ = "1.0.0"


def _keep_compiled_code_fresh() -> None:
    """Name numba's cache folder after a digest of all files that compile. Numba notices a change in
    a compiled function's file, but not in the files of the functions that it calls."""
    if "NUMBA_CACHE_DIR" in os.environ:
        return
    texts = (f.read_bytes() for f in sorted(Path(__file__).parent.rglob("*.py")))
    digest = hashlib.sha256(b"".join(t for t in texts if b"@njit" in t)).hexdigest()[:12]
    try:
        base = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "kd_offload"
        folder = _own(base) and _own(base / digest)
    except (OSError, RuntimeError, AttributeError):  # no home, no right to write, no users at all
        folder = None
    if folder is None:  # compile anew each time, rather than trust what others may have left
        folder = Path(tempfile.mkdtemp(prefix="kd_offload_"))
        atexit.register(shutil.rmtree, folder, ignore_errors=True)
    os.environ["NUMBA_CACHE_DIR"] = str(folder)


def _own(folder: Path) -> Path | None:
    """`folder`, made if need be, for nobody but its owner, if that is us: what is read is run."""
    folder.mkdir(0o700, parents=True, exist_ok=True)
    if folder.is_symlink() or folder.stat().st_uid != os.geteuid():
        return None
    folder.chmod(0o700)
    return folder if os.access(folder, os.W_OK) else None


_keep_compiled_code_fresh()
