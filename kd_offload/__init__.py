"""Knowledge distillation for mobile edge computation offloading: a reproducible artifact.

The paper: H. Chen, L. Zeng, S. Yu, X. Chen, "Knowledge Distillation for Mobile Edge Computation
Offloading", arXiv 2004.04366 (2020).

Read graphs, tasks, delay, labels, models, distill, in this order: they are the paper. The other
modules carry it, `scenarios` among them. The other folders are wings, each importing the core and
the wings named before it: beyond, proofs, rivals, studies, draw, device, claims.
"""

import hashlib
import os
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
    base = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    if not os.access(base if base.exists() else base.parent, os.W_OK):
        base = Path(tempfile.gettempdir())
    os.environ["NUMBA_CACHE_DIR"] = str(base / "kd_offload" / digest)


_keep_compiled_code_fresh()
