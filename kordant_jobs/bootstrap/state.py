"""The state folder of one checkout: databases, keys, dumps, mails, reports, logs. It needs no installed package."""

import hashlib
import os
import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path

CHECKOUT = Path(__file__).resolve().parents[2]
"""The folder that contains the package: a checkout's top, or site-packages for an installed wheel."""
PACKAGED = "kordant_jobs/project_files"
"""The folder of a wheel with the files from a checkout's top that are needed at run time (pyproject.toml lists
them)."""


def in_checkout(folder: Path = CHECKOUT) -> bool:
    """True when `folder` is a checkout, and not the site-packages of an installed wheel."""
    return (folder / "pyproject.toml").is_file()


def project_file(name: str, checkout: Path = CHECKOUT) -> Path:
    """The file `name` at the top of the checkout; for an installed wheel, its copy in the package."""
    path = checkout / name
    return path if path.is_file() else checkout / PACKAGED / name


def _usable(folder: Path) -> bool:
    """True when we can write to `folder`, which is created if needed."""
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder):
            return folder.stat().st_uid == os.geteuid()
    except OSError:
        return False


def state_dir(environ: Mapping[str, str], checkout: Path = CHECKOUT) -> Path:
    """The folder for the state of this checkout, or installed wheel, created with mode 0700.

    It is `KORDANT_STATE_DIR` when set; else `.state/` of the checkout; else, where that cannot be written or there is
    no checkout, the XDG state folder, and at last the temporary folder, both under a name made from the checkout's
    path, so that two checkouts never share one. A message on stderr says when it is created beside another user's.

    Raises:
        OSError: none of these can be written.
    """
    if chosen := environ.get("KORDANT_STATE_DIR"):
        folder = Path(chosen).expanduser().absolute()
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        return folder
    own = f"kordant-jobs-{hashlib.sha256(os.fsencode(checkout)).hexdigest()[:12]}"
    xdg = environ.get("XDG_STATE_HOME") or str(Path(environ.get("HOME", "/nonexistent")) / ".local" / "state")
    candidates = (
        *([checkout / ".state"] if in_checkout(checkout) else []),
        Path(xdg) / own,
        Path(tempfile.gettempdir()) / f"{own}-{os.geteuid()}",
    )
    for folder in candidates:
        new = not folder.exists()
        if _usable(folder):
            if new and folder != candidates[0] and candidates[0].exists():
                message = f"kordant-jobs: {candidates[0]} is another user's; yours is {folder}, and empty as yet\n"
                sys.stderr.write(message)
            return folder
    tried = ", ".join(map(str, candidates))
    raise OSError(f"no folder for state can be written; tried {tried}. Set KORDANT_STATE_DIR to one that can.")


UP_CLAIM = "up.lock"
"""The file in the state folder that names the `up` running on it."""
