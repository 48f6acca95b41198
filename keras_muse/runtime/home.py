"""Where this user's programs keep things, if anywhere."""

import os
import pathlib
import sys

VARIABLE = "USERPROFILE" if os.name == "nt" else "HOME"


def ensure_home():
    """Names a home directory where the system knows none.

    So it is for a user without an entry, in many containers. Packages that
    KerasHub imports ask for a home and fail without. It is a place where no
    file can be, so that nothing is kept where others could change it.
    """
    try:
        pathlib.Path.home()
    except (RuntimeError, KeyError):
        os.environ[VARIABLE] = os.devnull


def user_cache_directory():
    """Where this user's programs keep what they can make again.

    Raises:
        FileNotFoundError: if there is no home directory.
    """
    if sys.platform == "win32":
        root = os.environ.get("LOCALAPPDATA", "~/AppData/Local")
    elif sys.platform == "darwin":
        root = "~/Library/Caches"
    else:
        root = os.environ.get("XDG_CACHE_HOME") or "~/.cache"
    if root.startswith("~") and os.environ.get(VARIABLE) == os.devnull:
        raise FileNotFoundError("there is no home directory")
    return pathlib.Path(root).expanduser() / "keras_muse"
