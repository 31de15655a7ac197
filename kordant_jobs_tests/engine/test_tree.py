"""A tree of processes ends as one."""

import subprocess
from functools import partial
from pathlib import Path

from kordant_jobs.engine import tree
from kordant_jobs_tests.engine.launcher.conftest import until


def test_a_process_does_not_go_on_because_its_child_was_killed(tmp_path: Path) -> None:
    for number in range(10):
        after = tmp_path / f"{number}"
        with subprocess.Popen(["sh", "-c", f"sleep 600; echo > {after}"]) as root:
            until(partial(tree.children, root.pid))
            tree.kill_tree(root.pid)
            assert root.wait() == -9
        assert not after.exists()
