"""Where compiled code is kept if neither the package's folder nor the home can be written.

numba keeps it beside the source or in the home, and refuses to import anything where it can do
neither, as in many containers. Then a folder of this user's among the temporary files serves.
`NUMBA_CACHE_DIR` names another.
"""

from __future__ import annotations

import os
from pathlib import Path
from stat import S_IMODE
from tempfile import gettempdir, mkdtemp

from numba import config, njit

PRIVATE = 0o700  # nobody else may put code there


def _nothing():
    """A function to compile, if it can be kept."""


def find_folder() -> None:
    """Have numba keep compiled code among the temporary files if it finds no other place."""
    try:
        njit(cache=True)(_nothing)
    except RuntimeError:
        config.CACHE_DIR = str(_own_folder())


def _own_folder() -> Path:
    folder = Path(gettempdir()) / f"anygraph-{os.getuid()}"
    folder.mkdir(mode=PRIVATE, exist_ok=True)
    about = folder.lstat()
    if about.st_uid == os.getuid() and S_IMODE(about.st_mode) == PRIVATE:
        return folder
    return Path(mkdtemp(prefix="anygraph-"))


find_folder()
