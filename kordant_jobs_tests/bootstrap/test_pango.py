"""WeasyPrint's libraries: what a process is told of them, and what is fetched.

The real packages are tried by `.ci/bare-machine`.
"""

import json
from dataclasses import asdict
from pathlib import Path
from xml.etree import ElementTree

from kordant_jobs.bootstrap import pango


def test_the_machines_own_libraries_need_no_variable() -> None:
    assert pango.environment_variables(pango.Libraries(found=True), {"LD_LIBRARY_PATH": "/mine"}) == {}


def test_unpacked_libraries_come_first_and_the_persons_font_settings_stay() -> None:
    unpacked = pango.Libraries(found=True, folders=("/state/a", "/state/b"), fonts_conf="/state/fonts.conf")
    assert pango.environment_variables(unpacked, {"LD_LIBRARY_PATH": "/mine"}) == {
        "LD_LIBRARY_PATH": "/state/a:/state/b:/mine",
        "FONTCONFIG_FILE": "/state/fonts.conf",
    }
    assert pango.environment_variables(unpacked, {"FONTCONFIG_FILE": "/my/fonts.conf"}) == {
        "LD_LIBRARY_PATH": "/state/a:/state/b"
    }


def test_the_stamp_gives_back_what_was_found() -> None:
    unpacked = pango.Libraries(found=True, folders=("/state/a",), fonts_conf="/state/fonts.conf")
    assert pango.Libraries(**json.loads(json.dumps(asdict(unpacked)))) == unpacked


def test_without_root_only_what_the_machine_lacks_is_fetched_and_unpacked(tmp_path: Path) -> None:
    """apt-get and dpkg are played by scripts: two new packages, of which one holds a library."""
    tools = tmp_path / "tools"
    tools.mkdir()
    apt = """case "$*" in
      *' update') exit 100 ;;   # a hook of the machine that needs root
      *harfbuzz-subset0*) exit 100 ;;   # a release that has no such package
      *' install -s '*) printf 'Inst libpango-1.0-0 (1.50 any [amd64])\\nInst fonts-x [1] (2)\\n' ;;
      *' download libpango-1.0-0 fonts-x') : >pango.deb; : >fonts.deb ;;
      *) exit 1 ;;
    esac"""
    dpkg = """mkdir -p "$3/usr/lib/any" && : >"$3/usr/lib/any/libpango-1.0.so.0" """
    for name, script in (("apt-get", apt), ("dpkg", dpkg)):
        (tools / name).write_text(f"#!/bin/sh\n{script}\n", encoding="utf-8")
        (tools / name).chmod(0o755)
    folder = tmp_path / "state & more"
    log = tmp_path / "log"
    libraries = pango._unpack(folder, {"PATH": f"{tools}:/usr/bin:/bin"}, log)
    assert libraries is not None, log.read_text(encoding="utf-8")
    assert libraries.folders == (str(folder / "root" / "usr" / "lib" / "any"),)
    assert not (folder / "cache").exists()
    assert libraries.fonts_conf
    fonts = [element.text for element in ElementTree.parse(libraries.fonts_conf).iter("dir")]
    assert str(folder / "root" / "usr/share/fonts") in fonts
