"""The files of deploy/ are what their tools take, and say nothing that the code does not know."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any

import kubernetes_validate
import pytest
import yaml

from kordant_jobs.bootstrap.state import CHECKOUT
from kordant_jobs.cli.main import GROUPS
from kordant_jobs.engine.remote.k8s import k8s_launcher
from kordant_jobs.settings import OURS, Settings

DEPLOY = CHECKOUT / "deploy"
CHART = DEPLOY / "helm" / "kordant-jobs"
OBSERVABILITY = CHECKOUT / "docs" / "observability"
KUBERNETES = "1.35"
OTHERS = {"PrometheusRule"}
"""Kinds of operators, for which Kubernetes has no schema."""
NAMES = {f"KORDANT_{name.upper()}" for name in Settings.model_fields} | OURS


def tool(name: str) -> str:
    """Where a tool is."""
    found = shutil.which(name)
    if found is None:
        pytest.skip(f"no {name} on this machine")
    return found


def call(*command: str, **environ: str) -> str:
    """What a tool prints; a failure has its words."""
    done = subprocess.run(
        command, capture_output=True, text=True, check=False, env={"PATH": "/usr/bin:/bin", **environ}
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@lru_cache(maxsize=2)
def rendered(launcher: str) -> Sequence[dict[str, Any]]:
    """The chart's objects."""
    text = call(
        tool("helm"), "template", "kordant", str(CHART), "--namespace", "jobs", "--set", f"launcher={launcher}",
        "--set", "sharedVolumeClaim=drops",
        "--set-file", f"prometheusRules={OBSERVABILITY / 'prometheus-rules.yml'}",
        "--set-file", f"dashboards.health={OBSERVABILITY / 'background_jobs_health.json'}",
    )  # fmt: skip
    return [one for one in yaml.safe_load_all(text) if one]


def test_helm_finds_nothing_to_say_of_the_chart() -> None:
    call(tool("helm"), "lint", "--strict", str(CHART))


@pytest.mark.parametrize("launcher", ["celery", "k8s"])
def test_every_object_of_the_chart_is_what_kubernetes_takes(launcher: str) -> None:
    objects = rendered(launcher)
    for one in objects:
        if one["kind"] not in OTHERS:
            kubernetes_validate.validate(one, KUBERNETES, strict=True)
    kinds = {one["kind"] for one in objects}
    assert {"Deployment", "NetworkPolicy", "PodDisruptionBudget", "ServiceAccount", "PrometheusRule"} <= kinds
    assert ("Role" in kinds) == (launcher == "k8s")


@pytest.mark.parametrize("launcher", ["celery", "k8s"])
def test_a_kustomization_can_build_on_what_the_chart_renders(launcher: str, tmp_path: Path) -> None:
    (tmp_path / "chart.yaml").write_text(yaml.safe_dump_all(rendered(launcher)))
    (tmp_path / "kustomization.yaml").write_text(
        "resources: [chart.yaml]\nnamespace: other\ncommonAnnotations: {team: jobs}\n"
    )
    built = [one for one in yaml.safe_load_all(call(tool("kubectl"), "kustomize", str(tmp_path))) if one]
    assert len(built) == len(rendered(launcher))
    assert {one["metadata"]["annotations"]["team"] for one in built} == {"jobs"}


@pytest.mark.parametrize("launcher", ["celery", "k8s"])
def test_every_pod_is_no_root_and_writes_only_to_its_volumes(launcher: str) -> None:
    for one in rendered(launcher):
        if one["kind"] != "Deployment":
            continue
        pod = one["spec"]["template"]["spec"]
        assert pod["securityContext"]["runAsNonRoot"], one["metadata"]["name"]
        for container in pod["containers"]:
            assert container["securityContext"]["readOnlyRootFilesystem"]
            assert container["securityContext"]["capabilities"] == {"drop": ["ALL"]}
            assert {"requests", "limits"} <= set(container["resources"])
            assert "readinessProbe" in container or "startupProbe" in container


def test_the_image_can_open_the_stores_that_the_chart_names() -> None:
    values = yaml.safe_load((CHART / "values.yaml").read_text())
    assert {str(url).split("://")[0] for name, url in values["settings"].items() if name.endswith("_URL")} == {"s3"}
    assert re.search(r"^s3fs==", (CHECKOUT / "requirements-hosts.lock").read_text(), re.MULTILINE)


def test_every_service_and_policy_selects_a_pod_that_there_is() -> None:
    objects = rendered("celery")
    pods = [one["spec"]["template"]["metadata"]["labels"] for one in objects if one["kind"] == "Deployment"]
    for one in objects:
        match one["kind"]:
            case "Service":
                wanted = one["spec"]["selector"]
            case "NetworkPolicy":
                wanted = one["spec"]["podSelector"]["matchLabels"]
            case "PodDisruptionBudget":
                wanted = one["spec"]["selector"]["matchLabels"]
            case _:
                continue
        assert any(wanted.items() <= labels.items() for labels in pods), one["metadata"]["name"]


def test_the_config_of_pods_is_one_that_dagsters_launcher_takes() -> None:
    (settings,) = [one for one in rendered("k8s") if one["metadata"]["name"] == "kordant-settings"]
    config = json.loads(settings["data"]["KORDANT_K8S_LAUNCHER"])
    launcher = k8s_launcher({**config, "load_incluster_config": False, "kubeconfig_file": str(kubeconfig())})
    assert type(launcher).__name__ == "K8sRunLauncher"


@lru_cache(maxsize=1)
def kubeconfig() -> Path:
    """A cluster that nobody asks."""
    import tempfile

    path = Path(tempfile.mkdtemp()) / "config"
    cluster = {"name": "c", "cluster": {"server": "http://127.0.0.1:1"}}
    context = {"name": "x", "context": {"cluster": "c", "user": "u"}}
    words = {"current-context": "x", "clusters": [cluster], "contexts": [context], "users": [{"name": "u", "user": {}}]}
    path.write_text(json.dumps(words))
    return path


def test_the_instance_in_the_chart_is_the_checkouts() -> None:
    assert (CHART / "files" / "dagster.yaml").read_bytes() == (CHECKOUT / "dagster.yaml").read_bytes()


def test_units_are_what_systemd_takes() -> None:
    units = sorted(map(str, (DEPLOY / "systemd").glob("*.service")))
    call(tool("systemd-analyze"), "verify", *units)


SECRETS = dict.fromkeys(("POSTGRES_PASSWORD", "KORDANT_MASTER_KEY", "KORDANT_SMTP_URL"), "x")


def compose() -> Sequence[str]:
    """The words before a command of Docker Compose, which is a program of its own or a plugin of docker."""
    if (found := shutil.which("docker-compose")) is not None:
        return [found]
    docker = tool("docker")
    if subprocess.run([docker, "compose", "version"], capture_output=True, check=False).returncode:
        pytest.skip("docker has no compose plugin on this machine; the next test reads the file without it")
    return [docker, "compose"]


def test_the_compose_file_is_one_with_every_secret_and_without_one_says_which() -> None:
    config = [*compose(), "-f", str(DEPLOY / "compose.yaml"), "config", "--quiet"]
    call(*config, HOME="/tmp", **SECRETS)
    with pytest.raises(AssertionError, match="KORDANT_SMTP_URL"):
        call(*config, HOME="/tmp", **{name: "x" for name in SECRETS if name != "KORDANT_SMTP_URL"})


def test_the_compose_file_runs_two_kinds_of_containers_of_one_image_that_can_write_nothing_else() -> None:
    services = yaml.safe_load((DEPLOY / "compose.yaml").read_text())["services"]
    assert set(services) == {"control", "host", "pgbouncer", "postgres", "redis"}
    for name in ("control", "host"):
        one = services[name]
        assert one["read_only"]
        assert one["cap_drop"] == ["ALL"]
        assert set(one["depends_on"]) <= set(services)
        assert one["environment"]["KORDANT_LAUNCHER"] == "celery"
    assert services["control"]["image"] == services["host"]["image"]


@pytest.mark.parametrize("path", sorted(DEPLOY.rglob("*.*")), ids=lambda path: path.name)
def test_every_setting_and_command_that_is_named_exists(path: Path) -> None:
    text = path.read_text(encoding="utf-8") if path.is_file() else ""
    assert set(re.findall(r"KORDANT_[A-Z0-9_]+", text)) - NAMES == set()
    commands = re.findall(r"(?:args|command): \[(\w+)\]", text) + re.findall(r"kordant_jobs (\w+)$", text, re.M)
    assert set(commands) - set(GROUPS) - {"up", "test"} == set()


def test_the_image_has_the_packages_of_the_lock_and_is_no_ones_root() -> None:
    text = (DEPLOY / "Dockerfile").read_text()
    assert "--require-hashes -r requirements-hosts.lock" in text
    assert re.search(r"^USER 10001", text, re.M)
    for source in re.findall(r"^COPY (?!--from)(.*) \S+$", text, re.M):
        assert all((CHECKOUT / name).exists() for name in source.split())
