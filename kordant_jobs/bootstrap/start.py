"""From `python3 -m kordant_jobs …` to the actual command: find or make the environment, then replace this process by
it."""

import os
import sys
from collections.abc import Sequence

from kordant_jobs.bootstrap import pango, venv
from kordant_jobs.bootstrap.state import CHECKOUT, in_checkout, state_dir
from kordant_jobs.bootstrap.steps import BootstrapError, say

DEVELOPMENT = frozenset({"test", "bench", "fuzz", "chaos", "chaos-hosts", "chaos-notifications", "soak", "release"})
"""Commands that need the development packages: test runners, peers of benches, fuzzers, fakes."""
VOICE = frozenset({"models"})
"""Commands whose first use adds the packages of voices."""


def main(arguments: Sequence[str]) -> None:
    """Run the CLI with `arguments` in the checkout's environment, in place of this process. An installed wheel uses the
    environment that it is installed in. Never returns: it exits with 1 and one line when the environment cannot be
    made, with 130 on Ctrl-C. The working folder stays the caller's, and the module is not searched for in it (`-P`)."""
    if not in_checkout():
        os.execv(sys.executable, [sys.executable, "-P", "-m", "kordant_jobs.cli", *arguments])
    try:
        state = state_dir(os.environ)
        environment = venv.ensure(CHECKOUT, state, os.environ, needed_packages(arguments))
    except (BootstrapError, OSError) as error:
        say(str(error))
        raise SystemExit(1) from None
    except KeyboardInterrupt:
        say("stopped; the next start sets up again")
        raise SystemExit(130) from None
    environ = {**os.environ, **pango.environment_variables(environment.pango, os.environ)}
    environ.pop("PYTHONHOME", None)
    sys.stderr.flush()
    python = str(environment.python)
    os.execve(python, [python, "-P", "-m", "kordant_jobs.cli", *arguments], environ)


def needed_packages(arguments: Sequence[str]) -> venv.PackageSet:
    """The packages that a command line needs.

    >>> [needed_packages(words.split()).name for words in ("bench engine", "models pull", "demo --seed 2")]
    ['DEVELOPMENT', 'VOICE', 'RUNNING']
    """
    command = next((word for word in arguments if not word.startswith("-")), None)
    if command in DEVELOPMENT:
        return venv.PackageSet.DEVELOPMENT
    return venv.PackageSet.VOICE if command in VOICE else venv.PackageSet.RUNNING
