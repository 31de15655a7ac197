"""`python3 -m kordant_jobs …`: standard library only. Makes the environment on first use, then runs the CLI.

The first lines parse on every Python 3, so that an old one gets a sentence and not a SyntaxError.
"""

import sys

OLDEST, TOO_NEW = (3, 11), (3, 15)

if not OLDEST <= sys.version_info[:2] < TOO_NEW:
    sys.exit(
        "kordant-jobs needs Python 3.11 to 3.14 and this is "
        + ".".join(str(part) for part in sys.version_info[:3])
        + ": run it with one of those, as in: python3.11 -m kordant_jobs"
    )
if sys.platform == "win32":
    sys.exit("kordant-jobs runs on Linux and macOS: on Windows, run it inside WSL")

from kordant_jobs.bootstrap.start import main  # noqa: E402  not before the Python is known to read it

if __name__ == "__main__":
    main(sys.argv[1:])
