"""The libraries that WeasyPrint needs for PDFs and that no Python package has: Pango and its dependencies.

They are searched for first. Missing ones come from Debian's packages: installed for root, otherwise unpacked into the
state folder. Where that is impossible, set-up continues with a warning, since only reports need them; a report then
fails with the line of `missing_pango()`.
"""

import ctypes
import ctypes.util
import os
import shutil
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from xml.sax.saxutils import escape

from kordant_jobs.bootstrap.steps import answer, run_step, say

LIBRARIES = (
    ("gobject-2.0", "libgobject-2.0.so.0", "libgobject-2.0.0.dylib"),
    ("pango-1.0", "libpango-1.0.so.0", "libpango-1.0.dylib"),
    ("harfbuzz", "libharfbuzz.so.0", "libharfbuzz.0.dylib"),
    ("fontconfig", "libfontconfig.so.1", "libfontconfig.1.dylib"),
    ("pangoft2-1.0", "libpangoft2-1.0.so.0", "libpangoft2-1.0.dylib"),
)
"""The libraries that weasyprint/text/ffi.py must load (70.0): a name to search for, and file names."""

WELCOME_LIBRARIES = (("harfbuzz-subset", "libharfbuzz-subset.so.0", "libharfbuzz-subset.0.dylib"),)
"""Optional libraries, without which it is slower: installed where possible."""

PACKAGES = ("libpango-1.0-0", "libpangoft2-1.0-0")
WELCOME_PACKAGES = ("libharfbuzz-subset0",)
"""The package that subsets fonts; without it WeasyPrint warns. Some releases of Debian lack it."""

_BY_SYSTEM = (
    ("brew", "brew install pango"),
    ("apt-get", "apt-get install libpango-1.0-0 libpangoft2-1.0-0 libharfbuzz-subset0 (as root)"),
    ("dnf", "dnf install pango (as root)"),
    ("apk", "apk add pango (as root)"),
    ("pacman", "pacman -S pango (as root)"),
    ("zypper", "zypper install libpango-1_0-0 (as root)"),
)

_VERIFY = "import warnings; warnings.simplefilter('ignore'); import weasyprint"


@dataclass(frozen=True, kw_only=True)
class Libraries:
    """The place of WeasyPrint's libraries: the machine, or `folders` that we unpacked, or none."""

    found: bool
    folders: tuple[str, ...] = ()
    fonts_conf: str | None = None

    def __post_init__(self) -> None:
        object.__setattr__(self, "folders", tuple(self.folders))  # JSON brings a list


def missing_libraries() -> list[str]:
    """The libraries that this process cannot load, by name. Takes milliseconds."""
    return [names[0] for names in LIBRARIES if not _loads(names)]


def missing_pango() -> str | None:
    """None when PDFs can be made here, else one line: what is missing and the command that installs it."""
    lacking = missing_libraries()
    if not lacking:
        return None
    fix = next((line for tool, line in _BY_SYSTEM if shutil.which(tool)), "install Pango 1.44 or newer")
    return f"PDF reports need Pango, which this machine lacks ({', '.join(lacking)}): {fix}"


def environment_variables(libraries: Libraries, environ: Mapping[str, str]) -> dict[str, str]:
    """The environment variables that a process needs for `libraries`: none for the machine's own."""
    if not libraries.folders:
        return {}
    path = [*libraries.folders, *filter(None, [environ.get("LD_LIBRARY_PATH")])]
    needed = {"LD_LIBRARY_PATH": os.pathsep.join(path)}
    if libraries.fonts_conf and "FONTCONFIG_FILE" not in environ:
        needed["FONTCONFIG_FILE"] = libraries.fonts_conf
    return needed


def provide(python: Path, state: Path, environ: Mapping[str, str], log: Path) -> Libraries:
    """Find or install the libraries, and check that `python` can load WeasyPrint with them. Never fails: it warns."""
    machine = Libraries(found=True)
    enough = not missing_libraries()
    if enough and all(map(_loads, WELCOME_LIBRARIES)) and _verified(python, machine, environ, log):
        return machine
    if all(shutil.which(tool, path=environ.get("PATH")) for tool in ("apt-get", "dpkg")):
        if os.geteuid() == 0 and _install(environ, log) and _verified(python, machine, environ, log):
            return machine
        unpacked = _unpack(state / "pango", environ, log)
        if unpacked and _verified(python, unpacked, environ, log):
            return unpacked
    if enough and _verified(python, machine, environ, log):
        return machine
    say(f"warning: {missing_pango() or 'WeasyPrint cannot load its libraries'}; details are in {log}")
    return Libraries(found=False)


def _loads(names: Sequence[str]) -> bool:
    for name in (*names[1:], ctypes.util.find_library(names[0]) if sys.platform != "linux" else None):
        if name:
            try:
                ctypes.CDLL(name)
            except OSError:
                continue
            return True
    return False


def _verified(python: Path, libraries: Libraries, environ: Mapping[str, str], log: Path) -> bool:
    full_environ = {**environ, **environment_variables(libraries, environ)}
    return run_step("loading WeasyPrint", [str(python), "-c", _VERIFY], log=log, environ=full_environ)


def _install(environ: Mapping[str, str], log: Path) -> bool:
    """Install Debian's packages, as root. Package lists are fetched when the first attempt fails."""
    say("installing Pango's libraries with apt-get (PDF reports need them)")
    full_environ = {**environ, "DEBIAN_FRONTEND": "noninteractive"}
    apt = ["apt-get", "-o", "DPkg::Lock::Timeout=120", "-o", "Acquire::Retries=2"]
    for wanted in ((*PACKAGES, *WELCOME_PACKAGES), PACKAGES):
        command = [*apt, "install", "-y", "--no-install-recommends", *wanted]
        for _ in range(2):
            if run_step("installing Pango", command, log=log, environ=full_environ):
                return True
            run_step("fetching package lists", [*apt, "update"], log=log, environ=full_environ)
    return False


def _unpack(folder: Path, environ: Mapping[str, str], log: Path) -> Libraries | None:
    """Unpack Debian's packages into `folder`, without root. apt checks their signatures as usual."""
    say("unpacking Pango's libraries into the state folder (PDF reports need them)")
    shutil.rmtree(folder, ignore_errors=True)
    root, archives = folder / "root", folder / "cache" / "archives"
    for made in (folder / "lists" / "partial", archives / "partial", root):
        made.mkdir(parents=True)
    settings = {
        "Dir::State": str(folder),
        "Dir::State::lists": str(folder / "lists"),
        "Dir::State::status": "/var/lib/dpkg/status",  # what the machine has already is not fetched again
        "Dir::Cache": str(folder / "cache"),
        "APT::Sandbox::User": "",
        "Debug::NoLocking": "1",
        "Acquire::Retries": "2",
    }
    apt = ["apt-get", *(part for name, value in settings.items() for part in ("-o", f"{name}={value}"))]
    # Its hooks are the machine's and may fail without root; whether the lists came is seen in the next step.
    run_step("fetching package lists", [*apt, "update"], log=log, environ=environ)
    if not (names := _new_packages(apt, environ)):
        return None
    if not run_step("fetching Pango", [*apt, "download", *names], log=log, environ=environ, cwd=archives):
        return None
    for archive in sorted(archives.glob("*.deb")):
        if not run_step("unpacking Pango", ["dpkg", "-x", str(archive), str(root)], log=log, environ=environ):
            return None
    for spent in ("lists", "cache"):
        shutil.rmtree(folder / spent)
    folders = sorted({str(library.parent) for library in root.rglob("lib*.so.*")})
    return Libraries(found=True, folders=tuple(folders), fonts_conf=str(_write_fonts_conf(folder, root)))


def _new_packages(apt: Sequence[str], environ: Mapping[str, str]) -> list[str]:
    """The packages of Pango and its dependencies that the machine lacks."""
    for wanted in ((*PACKAGES, *WELCOME_PACKAGES), PACKAGES):
        plan = answer([*apt, "install", "-s", "--no-install-recommends", *wanted], environ=environ)
        if plan is not None:
            return [line.split()[1] for line in plan.splitlines() if line.startswith("Inst ")]
    return []


def _write_fonts_conf(folder: Path, root: Path) -> Path:
    """Write a font configuration with the machine's fonts and the unpacked ones, and a writable cache."""
    fonts = ("/usr/share/fonts", "/usr/local/share/fonts", str(root / "usr/share/fonts"))
    lines = [
        '<?xml version="1.0"?>',
        '<!DOCTYPE fontconfig SYSTEM "fonts.dtd">',
        "<fontconfig>",
        *(f"  <dir>{escape(font)}</dir>" for font in fonts),
        '  <dir prefix="xdg">fonts</dir>',
        f"  <cachedir>{escape(str(folder / 'fontconfig'))}</cachedir>",
        "</fontconfig>",
    ]
    conf = folder / "fonts.conf"
    conf.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return conf
