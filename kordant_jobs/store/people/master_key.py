"""Loads the master key from a setting, a file readable by its owner only, or a command (a KMS client, for example).

Each gives one key of 32 bytes in base64; during a rotation several, separated by blanks or line breaks: the first one
encrypts, the others only decrypt.
"""

import base64
import binascii
import os
import secrets
import shlex
import subprocess
from collections.abc import Sequence
from pathlib import Path

from kordant_jobs.errors import KeyringError
from kordant_jobs.store.people.keyring import KEY_BYTES, Keyring

COMMAND_TIMEOUT_S = 30


def parse_master_keys(text: str, *, origin: str) -> tuple[bytes, ...]:
    """One or more keys of 32 bytes from base64; `origin` names the source of the text, for the error.

    Raises:
        KeyringError: a word of it is not base64 of 32 bytes, or there is none. The text is never repeated.
    """
    keys = tuple(_parsed(word) for word in text.split())
    if not keys or any(len(key) != KEY_BYTES for key in keys):
        raise KeyringError(
            f"the master key in {origin} is not base64 of {KEY_BYTES} bytes. Make one with "
            "`python3 -c 'import base64, os; print(base64.b64encode(os.urandom(32)).decode())'`."
        )
    return keys


def _parsed(word: str) -> bytes:
    try:
        return base64.b64decode(word, validate=True)
    except (binascii.Error, ValueError):
        return b""


def keyring_of(keys: Sequence[bytes]) -> Keyring:
    """The keyring that encrypts with the first key and decrypts with all."""
    return Keyring(keys[0], previous=keys[1:])


def keys_of_command(command: str) -> tuple[bytes, ...]:
    """The keys that a command prints, for example `aws kms decrypt …` or `vault kv get …`. It runs without a shell.

    Raises:
        KeyringError: it failed, or printed no key. What it printed is never repeated.
    """
    try:
        done = subprocess.run(
            shlex.split(command), stdin=subprocess.DEVNULL, capture_output=True, timeout=COMMAND_TIMEOUT_S, check=False
        )
    except (OSError, ValueError, subprocess.TimeoutExpired) as error:
        raise KeyringError(f"KORDANT_MASTER_KEY_COMMAND cannot be run ({type(error).__name__}).") from None
    if done.returncode:
        raise KeyringError(f"KORDANT_MASTER_KEY_COMMAND ended with code {done.returncode}. Run it by hand to see why.")
    return parse_master_keys(done.stdout.decode("ascii", "replace"), origin="the output of KORDANT_MASTER_KEY_COMMAND")


def read_key_file(path: Path) -> tuple[bytes, ...]:
    """The master keys in a file that only its owner can read.

    Raises:
        KeyringError: it is absent, open to others, or no key.
    """
    try:
        mode = path.stat().st_mode
        text = path.read_text("ascii")
    except FileNotFoundError:
        raise KeyringError(
            f"there is no master key: {path} is absent and KORDANT_MASTER_KEY is unset. Put the key back there; a new "
            "one cannot read what the old one wrote."
        ) from None
    except (OSError, UnicodeDecodeError) as error:
        raise KeyringError(f"the master key in {path} cannot be read ({type(error).__name__}).") from None
    if mode & 0o077:
        raise KeyringError(f"{path} can be read by others. Run `chmod 600 {path}` and start again.")
    return parse_master_keys(text, origin=str(path))


def make_key_file(path: Path) -> tuple[bytes, ...]:
    """Create a new master key in `path`, mode 0600; an existing file is kept and read."""
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    try:
        handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    except FileExistsError:
        return read_key_file(path)
    with os.fdopen(handle, "w", encoding="ascii") as file:
        file.write(_line(secrets.token_bytes(KEY_BYTES)))
        file.flush()
        os.fsync(file.fileno())
    return read_key_file(path)


def write_key_file(path: Path, keys: Sequence[bytes]) -> None:
    """Write these keys to the file atomically: a reader sees the old ones or the new ones, also after a crash."""
    draft = path.with_name(f".{path.name}.{os.getpid()}")
    handle = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(handle, "w", encoding="ascii") as file:
        file.writelines(map(_line, keys))
        file.flush()
        os.fsync(file.fileno())
    draft.replace(path)
    folder = os.open(path.parent, os.O_RDONLY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)


def _line(key: bytes) -> str:
    return base64.b64encode(key).decode() + "\n"
