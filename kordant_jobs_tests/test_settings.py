"""A wrong setting is refused in a line that says which, what it holds, and what is right; a secret is never shown."""

from __future__ import annotations

import pytest

from kordant_jobs.errors import SettingsError
from kordant_jobs.settings import Settings, load_settings

WRONG = {
    "KORDANT_WEB_PORT": ("70000", "(70000): it should be less than or equal to 65535"),
    "KORDANT_WARM_CHILDREN": ("many", "(many): it should be a whole number"),
    "KORDANT_LEASE_S": ("0", "(0): it should be greater than or equal to 1"),
    "KORDANT_DROP_KEEP": ("perhaps", "(perhaps): it should be true or false"),
    "KORDANT_LAUNCHER": ("warmish", "(warmish): it should be 'warm', 'celery', 'k8s' or 'stock'"),
    "KORDANT_BIND": ("localhost", "(localhost): it should match pattern"),
    "KORDANT_PHONE_REGION": ("Brazil", "(Brazil): it should match pattern"),
    "KORDANT_OIDC_ROLE_MAP": ("{", "({): it should be JSON"),
    "KORDANT_HIBP_URL": ("haveibeenpwned.com", "(haveibeenpwned.com): it should be https://"),
    "KORDANT_CORPUS_URL": ("bucket/corpus", "(bucket/corpus): it should be an address with ://"),
    "KORDANT_API_URL": ("https://u:sesame@jobs.example", "is wrong: it should be https://"),
}


@pytest.mark.parametrize("name", WRONG)
def test_a_wrong_setting_is_named_with_what_it_holds_and_what_is_right(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    given, said = WRONG[name]
    monkeypatch.setenv(name, given)
    with pytest.raises(SettingsError) as refused:
        load_settings()
    text = str(refused.value)
    assert text.startswith(name)
    assert said in text
    assert "sesame" not in text
    assert f"What it is for: {Settings.model_fields[name.removeprefix('KORDANT_').lower()].description}" in text


def test_all_wrong_settings_are_named_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("KORDANT_WEB_PORT", "x")
    monkeypatch.setenv("KORDANT_LEASE_S", "y")
    with pytest.raises(SettingsError) as refused:
        load_settings()
    assert [line.split()[0] for line in str(refused.value).splitlines()] == ["KORDANT_WEB_PORT", "KORDANT_LEASE_S"]
