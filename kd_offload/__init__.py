"""Knowledge distillation for mobile edge computation offloading: a reproducible artifact.

The paper: H. Chen, L. Zeng, S. Yu, X. Chen, "Knowledge Distillation for Mobile Edge Computation
Offloading", arXiv 2004.04366 (2020).
"""

import hashlib
import os
import tempfile
from pathlib import Path

__version__ = "1.0.0"


def _keep_compiled_code_fresh() -> None:
    """Give every state of the sources its own numba cache.

    Numba's cache notices a change in the file of a compiled function, but not in the files of the
    functions it calls: after an edit of the delay model, the label generator would go on using the
    old one. A cache folder named after a digest of all sources cannot be stale.
    """
    if "NUMBA_CACHE_DIR" in os.environ:
        return
    here = Path(__file__).parent
    digest = hashlib.sha256(b"".join(f.read_bytes() for f in sorted(here.glob("*.py")))).hexdigest()[:12]
    base = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    if not os.access(base if base.exists() else base.parent, os.W_OK):
        base = Path(tempfile.gettempdir())
    os.environ["NUMBA_CACHE_DIR"] = str(base / "kd_offload" / digest)


_keep_compiled_code_fresh()
