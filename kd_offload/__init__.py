"""Knowledge distillation for mobile edge computation offloading: a reproducible artifact.

The paper: H. Chen, L. Zeng, S. Yu, X. Chen, "Knowledge Distillation for Mobile Edge Computation
Offloading", arXiv 2004.04366 (2020).

Read graphs, tasks, delay, labels, models, distill, in this order: they are the paper. The other
modules and `scenarios` carry it. The other folders are wings. Each imports the core and the wings
named before it: beyond, proofs, rivals, studies, draw, device, runtime, claims.
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
        folder = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "kd_offload"
        folder.mkdir(0o700, parents=True, exist_ok=True)
        if folder.is_symlink() or folder.stat().st_uid != os.geteuid():
            raise OSError  # not ours: what is read from there is run
        folder.chmod(0o700)
        (folder / digest).mkdir(0o700, exist_ok=True)
    except (OSError, RuntimeError, AttributeError):  # no home, no right to write, no users at all
        folder = Path(tempfile.mkdtemp(prefix="kd_offload_"))  # compiled anew each time
        atexit.register(shutil.rmtree, folder, ignore_errors=True)
    os.environ["NUMBA_CACHE_DIR"] = str(folder / digest)


_keep_compiled_code_fresh()
