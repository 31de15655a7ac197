"""Settings that cannot work are named before `up` starts, each by its variable, all at once."""

from __future__ import annotations

from pathlib import Path

import pytest

from kordant_jobs.cli import preflight
from kordant_jobs.errors import SettingsError
from kordant_jobs.settings import load_settings

WRONG = {
    "KORDANT_REPORTS_URL": "s4://x",
    "KORDANT_CORPUS_URL": "zz://x",
    "KORDANT_ALERT_URLS": "nope",
    "KORDANT_HEARTBEAT_URL": "foo",
    "KORDANT_REMOVALS_IMAP_URL": "foo",
    "KORDANT_BREACH_CATALOGUE": "/nope.json",
    "KORDANT_VOICE_DETECTOR": "/nope",
    "KORDANT_COUNTIES_DIR": "/nope",
    "KORDANT_PLUGGY_CLIENT_ID": "half",
    "KORDANT_OFB_BANKS": "/nope",
    "KORDANT_SMTP_URL": "foo",
}


@pytest.mark.parametrize("name", WRONG)
def test_each_wrong_setting_is_named(monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    preflight.check(load_settings())
    monkeypatch.setenv(name, WRONG[name])
    with pytest.raises(SettingsError, match=name):
        preflight.check(load_settings())


@pytest.mark.parametrize(("launcher", "its_own"), [("celery", "KORDANT_BROKER_URL"), ("k8s", "KORDANT_K8S_LAUNCHER")])
def test_runs_on_several_hosts_need_stores_that_all_of_them_see(
    monkeypatch: pytest.MonkeyPatch, launcher: str, its_own: str
) -> None:
    monkeypatch.setenv("KORDANT_LAUNCHER", launcher)
    shared = {
        "KORDANT_DATABASE_URL": "postgresql://u@db/k",
        "KORDANT_SMTP_URL": "smtp://mail:25",
        "KORDANT_CORPUS_URL": "memory://corpus",
        "KORDANT_REPORTS_URL": "memory://reports",
        its_own: "redis://broker/0" if launcher == "celery" else '{"job_namespace": "jobs"}',
    }
    for name, value in shared.items():
        with pytest.raises(SettingsError, match=name):
            preflight.check(load_settings())
        monkeypatch.setenv(name, value)
    preflight.check(load_settings())


def test_all_of_them_are_named_at_once(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("KORDANT_DRP_AGENT_ID", "us")
    monkeypatch.setenv("KORDANT_DRP_KEY_PATH", str(tmp_path / "none"))
    for name, value in WRONG.items():
        monkeypatch.setenv(name, value)
    with pytest.raises(SettingsError) as refused:
        preflight.check(load_settings())
    lines = str(refused.value)
    named = [name for name in (*WRONG, "KORDANT_DRP_KEY_PATH") if name in lines]
    assert len(named) >= len(WRONG) - 2  # of files and pairs the first is named
    assert "half" not in lines
