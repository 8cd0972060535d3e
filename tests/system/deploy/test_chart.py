"""The Helm chart, rendered by Helm's own library: valid, with the names that its predecessor's users know."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from tests.kit import need
from tests.kit.counterparts import PATHS
from tests.system.deploy.conftest import DEPLOY, Document, assert_keda_takes, known_not, said_by

CHART = DEPLOY / "helm" / "dago"
RENDER = Path(__file__).with_name("render.py")
ALL_ON: Document = {
    "redis": {"addr": "redis-master:6379", "password": "redis-secret", "db": 3},
    "llm": {"provider": "openai", "apiKey": "llm-secret"},
    "workers": {"poolSize": "2-20", "autoscaling": {"enabled": True}, "env": {"TOOL_MODULES": "acme_tools"}},
    "autoscaling": {"enabled": True, "maxReplicas": 20},
    "ingress": {
        "enabled": True,
        "className": "nginx",
        "annotations": {"nginx.ingress.kubernetes.io/proxy-buffering": "off"},
        "hosts": [{"host": "dago.example.com", "paths": [{"path": "/", "pathType": "Prefix"}]}],
        "tls": [{"secretName": "tls", "hosts": ["dago.example.com"]}],
    },
    "api": {"tokens": "ci:submit:api-secret"},
    "podAnnotations": {"prometheus.io/scrape": "true"},
}
Rendered = dict[tuple[str, str], Document]


def render(values: Document) -> Rendered:
    """All objects by kind and name, each as the published schemas want it."""
    need("helm", "kubernetes-validate", "node", "keda-schemas")
    said = said_by(PATHS["helm"], RENDER, CHART, stdin=json.dumps(values))
    return {(one["kind"], one["metadata"]["name"]): one for one in json.loads(said)}


def assert_valid(objects: Rendered, folder: Path) -> None:
    ours = [one for one in objects.values() if not one["apiVersion"].startswith("keda")]
    file = folder / "objects.json"
    file.write_text(json.dumps({"apiVersion": "v1", "kind": "List", "items": ours}))
    said_by(PATHS["kubernetes-validate"], "--strict", file)
    assert_keda_takes([one for one in objects.values() if one["apiVersion"].startswith("keda")])


def pod(objects: Rendered, name: str) -> Document:
    found: Document = objects["Deployment", name]["spec"]["template"]["spec"]
    return found


def settings(objects: Rendered, name: str) -> dict[str, Any]:
    return {one["name"]: one.get("value") for one in pod(objects, name)["containers"][0]["env"]}


def test_chart_as_it_comes(tmp_path: Path) -> None:
    """Two API pods, one pool, the Secret with the keys there always were; a token is made, another each time."""
    objects = render({})
    assert_valid(objects, tmp_path)
    kinds = ("Deployment", "PodDisruptionBudget")
    wanted = {(kind, name) for kind in kinds for name in ("try-dago", "try-dago-worker")}
    assert objects.keys() == wanted | {(kind, "try-dago") for kind in ("Secret", "Service", "ServiceAccount")}
    assert objects["Deployment", "try-dago"]["spec"]["replicas"] == 2
    secret = objects["Secret", "try-dago"]["stringData"]
    assert secret.keys() == {"redis-password", "llm-api-key", "api-tokens"}
    assert secret["api-tokens"].startswith("dago:operate:") and len(secret["api-tokens"]) > 50
    assert secret["api-tokens"] != render({})["Secret", "try-dago"]["stringData"]["api-tokens"]
    for name in ("try-dago", "try-dago-worker"):
        assert known_not(settings(objects, name)) == set()
        assert pod(objects, name)["securityContext"]["runAsUser"] == 1000
        assert settings(objects, name)["REDIS_ADDR"] == "redis:6379"
        assert "REDIS_PASS_FILE" not in settings(objects, name), "an empty password is none"
    assert settings(objects, "try-dago")["DAGO_HTTP_HOST"] == "0.0.0.0"
    assert settings(objects, "try-dago-worker")["WORKERS"] == "5"
    ports = {port["name"]: port["port"] for port in objects["Service", "try-dago"]["spec"]["ports"]}
    assert ports == {"http": 8080, "grpc": 9090}


def test_chart_with_everything_on(tmp_path: Path) -> None:
    """Each value arrives: the database of Redis, the ingress, both kinds of scaling; secrets as files alone."""
    objects = render(ALL_ON)
    assert_valid(objects, tmp_path)
    for name in ("try-dago", "try-dago-worker"):
        given = settings(objects, name)
        assert (given["REDIS_ADDR"], given["REDIS_DB"]) == ("redis-master:6379", "3")
        assert "replicas" not in objects["Deployment", name]["spec"], "what scales it sets them"
        files = {given[key].rsplit("/", 1)[1] for key in given if key.endswith("_FILE")}
        (volume,) = (one for one in pod(objects, name)["volumes"] if one["name"] == "secrets")
        assert {item["path"] for item in volume["secret"]["items"]} == files
        assert not [text for text in ("redis-secret", "llm-secret", "api-secret") if text in json.dumps(given)]
    worker = settings(objects, "try-dago-worker")
    assert (worker["WORKERS"], worker["LLM_PROVIDER"], worker["TOOL_MODULES"]) == ("2-20", "openai", "acme_tools")
    rule = objects["Ingress", "try-dago"]["spec"]["rules"][0]
    assert rule["host"] == "dago.example.com"
    assert rule["http"]["paths"][0]["backend"]["service"] == {"name": "try-dago", "port": {"name": "http"}}
    scaled = objects["ScaledObject", "try-dago-worker"]["spec"]
    assert scaled["advanced"]["scalingModifiers"]["target"] == "20"
    assert {one["metadata"]["databaseIndex"] for one in scaled["triggers"]} == {"3"}
    assert objects["HorizontalPodAutoscaler", "try-dago"]["spec"]["maxReplicas"] == 20
    assert objects["Secret", "try-dago"]["stringData"]["api-tokens"] == "ci:submit:api-secret"


def test_chart_with_a_secret_of_ones_own(tmp_path: Path) -> None:
    """It is named wherever a secret is read, and none is made; without pools there is no object of theirs."""
    objects = render({"existingSecret": "mine", "workers": {"enabled": False}, "fullnameOverride": "graphs"})
    assert_valid(objects, tmp_path)
    assert {kind for kind, _ in objects} == {"Deployment", "Service", "ServiceAccount", "PodDisruptionBudget"}
    assert {name for _, name in objects} == {"graphs"}
    (volume,) = pod(objects, "graphs")["volumes"]
    assert volume["secret"]["secretName"] == "mine"
    assert settings(objects, "graphs")["REDIS_PASS_FILE"] == "/run/secrets/dago/redis-password"


def test_a_value_that_can_not_be_used_is_noticed() -> None:
    """Rendering fails where a template does not fit its values."""
    with pytest.raises(AssertionError, match="evaluate field host"):
        render({"ingress": {"enabled": True, "hosts": [1]}})
