"""Nothing that a kept command starts outlives the process that started it."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from kordant_jobs.bootstrap.kept import SupervisedProcess, last_log_line, rotate, rotate_in_place
from kordant_jobs.bootstrap.state import CHECKOUT

STUBBORN = """
import os, signal, sys, time
signal.signal(signal.SIGTERM, signal.SIG_IGN)
if os.fork() == 0:
    os.setsid()          # leaves the session, as a daemon does
    if os.fork():
        os._exit(0)      # and its parent
open(sys.argv[1] + str(os.getpid()), "w").close()
time.sleep(600)
"""


def until(condition: Callable[[], object], timeout_s: float = 20) -> bool:
    deadline = time.monotonic() + timeout_s
    while not condition():
        if time.monotonic() > deadline:
            return False
        time.sleep(0.02)
    return True


def marked(mark: str) -> list[int]:
    """The processes that have `mark` in their environment."""
    found = []
    for entry in Path("/proc").glob("[0-9]*/environ"):
        try:
            if mark.encode() in entry.read_bytes():
                found.append(int(entry.parent.name))
        except OSError:
            continue
    return found


@pytest.fixture
def mark(tmp_path: Path) -> str:
    return f"KORDANT_TEST_MARK={tmp_path}"


def kept(tmp_path: Path, mark: str, *command: str) -> SupervisedProcess:
    name, _, value = mark.partition("=")
    return SupervisedProcess(
        name="it",
        command=list(command),
        log=tmp_path / "log",
        environ={**os.environ, name: value},
        cwd=tmp_path,
    )


@pytest.mark.parametrize(("script", "code"), [("exit 3", 3), ("kill -9 $$", 137)])
def test_the_exit_code_is_the_commands(tmp_path: Path, mark: str, script: str, code: int) -> None:
    it = kept(tmp_path, mark, "sh", "-c", script)
    it.spawn()
    assert until(lambda: it.ended() is not None)
    assert it.ended() == code
    it.end(0)


def test_a_command_that_is_missing_is_logged(tmp_path: Path, mark: str) -> None:
    it = kept(tmp_path, mark, "/nonexistent/tool")
    it.spawn()
    assert until(lambda: it.ended() is not None)
    assert "cannot start /nonexistent/tool" in last_log_line(tmp_path / "log")


def test_the_end_takes_stubborn_descendants_that_left_the_session_with_it(tmp_path: Path, mark: str) -> None:
    it = kept(tmp_path, mark, sys.executable, "-c", STUBBORN, f"{tmp_path}/pid-")
    it.spawn()
    assert until(lambda: len(list(tmp_path.glob("pid-*"))) == 2)
    it.end(0.1)
    assert marked(mark) == []


def test_kill_9_of_the_parent_leaves_nothing(tmp_path: Path, mark: str) -> None:
    parent = (
        "import sys, time; from pathlib import Path; from kordant_jobs.bootstrap import kept;"
        "import os; folder = Path(sys.argv[1]);"
        "kept.SupervisedProcess(name='it', command=[sys.executable, '-c', sys.argv[2], str(folder) + '/pid-'],"
        " log=folder / 'log', environ=os.environ, cwd=folder, orphaned_grace_s=0.2).spawn(); time.sleep(600)"
    )
    name, _, value = mark.partition("=")
    process = subprocess.Popen(
        [sys.executable, "-c", parent, tmp_path, STUBBORN], cwd=CHECKOUT, env={**os.environ, name: value}
    )
    assert until(lambda: len(list(tmp_path.glob("pid-*"))) == 2)
    process.kill()
    process.wait()
    assert until(lambda: marked(mark) == [])


def test_kill_9_of_the_keeper_leaves_nothing_in_its_session(tmp_path: Path, mark: str) -> None:
    it = kept(tmp_path, mark, "sh", "-c", f"sleep 600 & touch {tmp_path}/there; wait")
    it.spawn()
    assert until((tmp_path / "there").exists)
    assert it.pid
    os.kill(it.pid, signal.SIGKILL)
    assert until(lambda: it.ended() is not None)
    it.end(0)
    assert until(lambda: marked(mark) == [])


def test_signals_that_a_shell_made_us_ignore_reach_the_command(tmp_path: Path, mark: str) -> None:
    """`server &` in a script ignores SIGINT, and nohup SIGHUP; what is ignored stays so across exec."""
    ignored = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        it = kept(tmp_path, mark, "sh", "-c", f"grep SigIgn /proc/$$/status >{tmp_path}/ignored")
        it.spawn()
        assert until(lambda: it.ended() is not None)
    finally:
        signal.signal(signal.SIGINT, ignored)
    mask = int((tmp_path / "ignored").read_text(encoding="utf-8").split()[1], 16)
    ours = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGPIPE)  # Python itself ignores the last
    assert [number for number in ours if mask & 1 << (number - 1)] == []


def test_a_descriptor_is_kept_open_by_the_keeper_and_not_given_to_the_command(tmp_path: Path, mark: str) -> None:
    read, write = os.pipe()
    it = kept(tmp_path, mark, "sh", "-c", f"ls -l /proc/self/fd >{tmp_path}/open; exec sleep 600")
    it.keep_open = (write,)
    it.spawn()
    os.close(write)
    os.set_blocking(read, False)
    assert until((tmp_path / "open").exists)
    with pytest.raises(BlockingIOError):
        os.read(read, 1)  # somebody still has the other end
    it.end(1)
    assert os.read(read, 1) == b""
    os.close(read)
    assert (tmp_path / "open").read_text(encoding="utf-8").count("pipe:") == 0


def test_three_old_logs_are_kept(tmp_path: Path) -> None:
    log = tmp_path / "logs" / "part.log"
    for words in "abcde":
        rotate(log)
        log.write_text(words, encoding="utf-8")
    kept_words = {path.name: path.read_text(encoding="utf-8") for path in log.parent.iterdir()}
    assert kept_words == {"part.log": "e", "part.log.1": "d", "part.log.2": "c", "part.log.3": "b"}


def test_a_log_is_moved_away_while_its_process_writes(tmp_path: Path) -> None:
    log = tmp_path / "part.log"
    with log.open("ab", buffering=0) as writing:
        for number in range(6):
            writing.write(f"{number}\n".encode() * 100)
            assert rotate_in_place(log, above=50)
            assert not rotate_in_place(log, above=50)
        writing.write(b"last\n")
    assert log.read_text() == "last\n"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["part.log", "part.log.1", "part.log.2", "part.log.3"]
    assert (tmp_path / "part.log.1").read_text().startswith("5\n")
