"""The person's pip configuration reaches uv, which reads none of it."""

import pytest

from kordant_jobs.bootstrap import pip_config


@pytest.mark.parametrize(
    ("listing", "expected"),
    [
        ("global.index-url='https://mirror/simple'", {"UV_DEFAULT_INDEX": "https://mirror/simple"}),
        (
            "global.extra-index-url='https://a/simple\\nfile:///b/simple'",
            {"UV_INDEX": "https://a/simple file:///b/simple", "UV_INDEX_STRATEGY": "unsafe-best-match"},
        ),
        (":env:.find-links='/wheels https://c/links'", {"UV_FIND_LINKS": "/wheels,https://c/links"}),
        ("install.trusted-host='a.example b.example'", {"UV_INSECURE_HOST": "a.example b.example"}),
        ("global.cert='/etc/ca.pem'", {"SSL_CERT_FILE": "/etc/ca.pem"}),
        ("global.client-cert='/etc/me.pem'", {"SSL_CLIENT_CERT": "/etc/me.pem"}),
        ("global.proxy='http://proxy:3128'", {"ALL_PROXY": "http://proxy:3128"}),
        (":env:.default-timeout='180'", {"UV_HTTP_TIMEOUT": "180"}),
        ("global.only-binary=':all:'", {"UV_NO_BUILD": "1"}),
        ("freeze.timeout='10'\nglobal.constraint='/etc/c.txt'\nnonsense", {}),
    ],
)
def test_each_option_that_says_where_packages_come_from_is_passed_on(listing: str, expected: dict[str, str]) -> None:
    assert pip_config.uv_environment(pip_config.parse(listing), {}) == expected


def test_the_environment_beats_the_install_section_and_that_beats_the_global_one() -> None:
    listing = "\n".join(
        [
            ":env:.timeout='3'",
            "global.timeout='1'",
            "install.timeout='2'",
            "install.index-url='i'",
            "global.index-url='g'",
        ]
    )
    assert pip_config.parse(listing) == {"timeout": "3", "index-url": "i"}


def test_settings_that_uv_has_already_stay() -> None:
    options = {"index-url": "https://mirror/simple", "timeout": "9"}
    given = {"UV_INDEX_URL": "https://mine/simple", "UV_HTTP_TIMEOUT": "5"}
    assert pip_config.uv_environment(options, given) == {}


def test_pip_without_an_index_means_uv_without_one() -> None:
    assert pip_config.uv_arguments(pip_config.parse("global.no-index='true'")) == ["--no-index"]
    assert pip_config.uv_arguments({}) == []


def test_the_machines_certificates_are_tried_before_uvs_own_unless_configured() -> None:
    machine, own = pip_config.uv_trust({}, {})
    assert machine["UV_SYSTEM_CERTS"] == "true"
    assert own == {}
    assert pip_config.uv_trust({"cert": "/etc/ca.pem"}, {}) == [{}]
    assert pip_config.uv_trust({}, {"SSL_CERT_FILE": "/etc/ca.pem"}) == [{}]
