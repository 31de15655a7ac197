"""Translates the person's pip configuration for uv, which reads no pip.conf and no PIP_* variable. Pure.

Only options that decide where packages come from are passed on: indexes, mirrors, certificates, proxy, time-out.
"""

import ast
import os
from collections.abc import Mapping

_PRECEDENCE = ("global", "install", ":env:")
"""pip's own order: a later section overrides an earlier one."""


_SAME_MEANING = (("cert", "SSL_CERT_FILE"), ("client-cert", "SSL_CLIENT_CERT"), ("proxy", "ALL_PROXY"))


def parse(listing: str) -> dict[str, str]:
    """The effective options of `pip install`, from the output of `pip config list`.

    >>> parse("global.index-url='https://a/simple'\\n:env:.index-url='https://b/simple'\\nfreeze.timeout='1'")
    {'index-url': 'https://b/simple'}
    """
    found: dict[str, dict[str, str]] = {section: {} for section in _PRECEDENCE}
    for line in listing.splitlines():
        name, equals, quoted = line.partition("=")
        section, _, option = name.rpartition(".")
        if not equals or section not in found:
            continue
        try:
            value = ast.literal_eval(quoted)
        except (SyntaxError, ValueError):
            continue
        found[section][option.replace("_", "-")] = str(value).strip()
    merged: dict[str, str] = {}
    for section in _PRECEDENCE:
        merged |= found[section]
    return merged


def uv_environment(options: Mapping[str, str], environ: Mapping[str, str]) -> dict[str, str]:
    """The variables that make uv use pip's indexes. Variables in `environ` that already configure uv are kept. With
    several indexes uv would stop at the first one with a package of that name, while pip reads all: `unsafe-best-match`
    does the same as pip, and is safe here because every file is checked against its hash."""
    said: dict[str, str] = {}
    indexes_given = environ.keys() & {"UV_DEFAULT_INDEX", "UV_INDEX_URL", "UV_INDEX", "UV_EXTRA_INDEX_URL"}
    if not indexes_given:
        if index := options.get("index-url"):
            said["UV_DEFAULT_INDEX"] = index
        if extra := options.get("extra-index-url", "").split():
            said["UV_INDEX"] = " ".join(extra)
            said["UV_INDEX_STRATEGY"] = "unsafe-best-match"
    if links := options.get("find-links", "").split():
        said["UV_FIND_LINKS"] = ",".join(os.path.expanduser(link) for link in links)  # noqa: PTH111  a URL, maybe
    if hosts := options.get("trusted-host", "").split():
        said["UV_INSECURE_HOST"] = " ".join(hosts)
    for option, variable in _SAME_MEANING:
        if value := options.get(option):
            said[variable] = value
    if (timeout := options.get("timeout") or options.get("default-timeout", "")).isdigit():
        said["UV_HTTP_TIMEOUT"] = timeout
    if options.get("only-binary") == ":all:":
        said["UV_NO_BUILD"] = "1"
    return {name: value for name, value in said.items() if name == "SSL_CERT_FILE" or name not in environ}


def uv_trust(options: Mapping[str, str], environ: Mapping[str, str]) -> list[dict[str, str]]:
    """The certificates to try, in order: the machine's, as pip does, then uv's own. Only one attempt when the person
    chose a source. A proxy's certificate that only the machine's store has, for example, fails with uv's own; a machine
    without a store fails with the machine's."""
    given = {"SSL_CERT_FILE", "SSL_CERT_DIR", "UV_SYSTEM_CERTS", "UV_NATIVE_TLS"}
    if "cert" in options or environ.keys() & given:
        return [{}]
    return [{"UV_SYSTEM_CERTS": "true", "UV_NATIVE_TLS": "true"}, {}]  # the second is what older uvs call it


def uv_arguments(options: Mapping[str, str]) -> list[str]:
    """The options that uv accepts only as arguments."""
    return ["--no-index"] if options.get("no-index", "").lower() in {"1", "true", "yes", "on"} else []
