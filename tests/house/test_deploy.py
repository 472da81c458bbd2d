"""compose.yaml and the manifests of Kubernetes name what exists: keys, ports, routes, metrics, files, each other.

No test starts them: that takes an engine. The schemas of Kubernetes are not here either, since they would have to be
fetched: what is checked of its objects is what they must have to be of use. What containers run is run for real in
tests/e2e/test_deployed.py.
"""

import re
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
import yaml  # type: ignore[import-untyped]  # it has no annotations; what is read is checked below

from config.load import load
from config.settings import Server, Store
from tests.house.manifests import SECRETS, Role, compose, configuration, named, objects, of_kind, pods, roles, services
from tests.house.tree import ROOT
from worker.cli import VERBS
from worker.web.health import LIVE, READY
from worker.work import STOP_GRACE_SECONDS

VERSIONS = {
    "ConfigMap": "v1",
    "Deployment": "apps/v1",
    "HorizontalPodAutoscaler": "autoscaling/v2",
    "Job": "batch/v1",
    "PodDisruptionBudget": "policy/v1",
    "ScaledObject": "keda.sh/v1alpha1",
    "Secret": "v1",
    "Service": "v1",
}
"""Which version of the API serves each kind: https://kubernetes.io/docs/reference/kubernetes-api/."""
SECRET = ("CLAWBACK_STORE__URL", "CLAWBACK_STORE__ENCRYPTION_KEYS", "CLAWBACK_ADMIN__TOKENS")
PEOPLE = 10
"""Connections that a database keeps for others than us."""
ROUTES = {LIVE.path, READY.path, "/metrics"}


@pytest.fixture(params=roles(), ids=lambda role: role.name)
def role(request: pytest.FixtureRequest) -> Role:
    """Give every container of ours, one after the other."""
    return request.param  # type: ignore[no-any-return]  # as the parameters are


def gauges() -> set[str]:
    """List the names of metrics that are asked of store and broker at scrape time."""
    text = (ROOT / "worker" / "web" / "scrape.py").read_text("utf-8")
    return {f"clawback_{name}" for name in re.findall(r'_gauge\(\s*"(\w+)"', text)}


def lists(value: Any) -> Iterator[Any]:
    """Walk over every mapping of a document."""
    if isinstance(value, dict):
        yield value
        value = list(value.values())
    if isinstance(value, list):
        for one in value:
            yield from lists(one)


def test_each_container_runs_a_verb(role: Role) -> None:
    """The first argument is a verb of the command line; the rest is what it takes."""
    assert role.arguments[0] in VERBS
    assert role.arguments[1:] in [(), ("--processes", "1"), ("--processes", "2")]


def test_each_environment_is_a_configuration(role: Role, tmp_path: Path) -> None:
    """Every variable names a key that exists, and file and environment together are without a mistake."""
    settings = load(configuration(tmp_path), role.environment)

    assert settings.store.url.startswith("postgresql://")
    assert settings.broker.url.startswith("redis://")


@pytest.mark.parametrize("name", sorted(services()))
def test_a_container_may_do_little(name: str) -> None:
    """Nobody's user, a file system that cannot be written to, no capability: as the image is made for."""
    one = services()[name]
    assert (True, ["ALL"], ["no-new-privileges:true"]) == (one["read_only"], one["cap_drop"], one["security_opt"])
    assert {"/tmp", "/var/lib/clawback"} == {path.partition(":")[0] for path in one["tmpfs"]}  # noqa: S108 - theirs
    assert "user" not in one, "the image says who"
    assert int(one["stop_grace_period"].removesuffix("s")) > STOP_GRACE_SECONDS


def test_compose_has_two_of_each() -> None:
    """Two endpoints and two workers, that wait for the migration, on a database and a broker that they name."""
    kinds = [one["command"][0] for one in services().values()]
    assert {"migrate": 1, "serve": 2, "work": 2} == {kind: kinds.count(kind) for kind in kinds}
    for name, one in services().items():
        hosts = re.findall(r"(?:@|redis://)(\w+)", " ".join(one["environment"].values()))
        assert {"db", "broker"} == set(hosts) & compose()["services"].keys()
        if name != "migrate":
            assert {"condition": "service_completed_successfully"} == one["depends_on"]["migrate"]


def test_what_is_waited_for_exists_and_says_when() -> None:
    """Whoever waits for another to be healthy waits for one that has a check."""
    everything = compose()["services"]
    for one in everything.values():
        for other, how in one.get("depends_on", {}).items():
            assert how["condition"] != "service_healthy" or "healthcheck" in everything[other]


def test_what_compose_mounts_exists() -> None:
    """A path of this repository that a container is given is there; a volume is declared."""
    given = {part.partition(":")[0] for one in compose()["services"].values() for part in one.get("volumes", ())}
    paths = {path for path in given if path.startswith("./")}
    made_by_operator = {"./clawback.toml"}

    assert compose()["volumes"].keys() == given - paths
    # Rules and dashboards come as one folder each, or not at all.
    folders = {path: ROOT.joinpath(*Path(path).parts[:2]) for path in paths - made_by_operator}
    assert [] == [path for path, folder in folders.items() if folder.exists() and not (ROOT / path).exists()]


def test_compose_publishes_on_loopback_alone() -> None:
    """What listens without TLS is not for the world, and no port is taken twice."""
    published = [port for one in compose()["services"].values() for port in one.get("ports", ())]
    assert all(port.startswith("127.0.0.1:") for port in published)
    assert len(published) == len({port.split(":")[1] for port in published})


def test_the_database_has_a_connection_for_everybody() -> None:
    """All processes together may open no more than it has, and leave some for people."""
    commands = [one["command"] for one in services().values()]
    processes = [int(dict(pairwise(command)).get("--processes", 1)) for command in commands]
    (said,) = [part for part in compose()["services"]["db"]["command"] if part.startswith("max_connections=")]

    assert sum(processes) * Store().connections + PEOPLE <= int(said.partition("=")[2])


def test_the_broker_never_evicts() -> None:
    """An evicted key would be a lost hint."""
    assert ("--maxmemory-policy", "noeviction") in pairwise(compose()["services"]["broker"]["command"])


def test_images_are_pinned() -> None:
    """A stranger's image is named by a version, so that it is the same tomorrow."""
    images = [one["image"] for one in compose()["services"].values() if one["image"] != "clawback"]
    assert all(re.search(r":v?\d+(\.\d+)*$", image) for image in images), images


@pytest.mark.parametrize("one", objects(), ids=lambda one: f"{one['kind']}/{one['metadata']['name']}")
def test_an_object_is_one(one: dict[str, Any]) -> None:
    """It says of which version it is, is named as Kubernetes takes names, and is labeled as ours."""
    assert VERSIONS[one["kind"]] == one["apiVersion"]
    assert re.fullmatch(r"[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?", one["metadata"]["name"])
    assert "clawback" == one["metadata"]["labels"]["app.kubernetes.io/name"]
    assert {"spec", "data", "stringData"} & one.keys()


@pytest.mark.parametrize(("name", "template"), list(pods()), ids=[name for name, _ in pods()])
def test_a_pod_may_do_little(name: str, template: dict[str, Any]) -> None:
    """Nobody's user by number, no token of the cluster, nothing writable but what is mounted, a bound on memory."""
    spec = template["spec"]
    assert (True, 10001) == (spec["securityContext"]["runAsNonRoot"], spec["securityContext"]["runAsUser"])
    # Links to Services named clawback-… would be variables that look like configuration.
    assert (False, False) == (spec["automountServiceAccountToken"], spec["enableServiceLinks"])
    for container in spec["containers"]:
        may = container["securityContext"]
        assert (False, True, ["ALL"]) == (
            may["allowPrivilegeEscalation"],
            may["readOnlyRootFilesystem"],
            may["capabilities"]["drop"],
        )
        assert {"memory"} <= container["resources"]["limits"].keys()
        assert {each["name"] for each in spec["volumes"]} == {each["name"] for each in container["volumeMounts"]}
        assert {"/tmp", "/var/lib/clawback"} <= {each["mountPath"] for each in container["volumeMounts"]}  # noqa: S108 - theirs


def test_selectors_find_their_pods() -> None:
    """Deployments, Services and budgets select labels that one template has, and scalers name a Deployment."""
    labels = [template["metadata"]["labels"] for _, template in pods()]
    for one in of_kind("Deployment", "PodDisruptionBudget", "Service"):
        selector = one["spec"]["selector"].get("matchLabels", one["spec"]["selector"])
        assert 1 == sum(selector.items() <= each.items() for each in labels), one["metadata"]["name"]
    for one in of_kind("HorizontalPodAutoscaler", "ScaledObject"):
        assert named("Deployment", one["spec"]["scaleTargetRef"]["name"])


def test_one_says_how_many() -> None:
    """Each Deployment has one scaler, no number of replicas of its own, and a budget that lets a node be drained."""
    for one in of_kind("Deployment"):
        name = one["metadata"]["name"]
        scalers = [
            each["spec"]
            for each in of_kind("HorizontalPodAutoscaler", "ScaledObject")
            if each["spec"]["scaleTargetRef"]["name"] == name
        ]
        assert "replicas" not in one["spec"]
        assert 1 == len(scalers)
        least = scalers[0].get("minReplicas", scalers[0].get("minReplicaCount"))
        assert least > named("PodDisruptionBudget", name)["spec"]["minAvailable"]


def test_probes_ask_for_what_answers(tmp_path: Path) -> None:
    """A probe names a port of its container and a route of ours, and none takes the endpoint away over its broker."""
    settings = load(configuration(tmp_path), {})
    serving = {"http": settings.server.port, "admin": settings.server.admin_port}
    for _, template in pods():
        for container in template["spec"]["containers"]:
            listening = {each["name"]: each["containerPort"] for each in container.get("ports", ())}
            assert listening in ({}, serving, {"metrics": settings.work.metrics_port})
            for probe in (container[kind] for kind in container if kind.endswith("Probe")):
                assert probe["httpGet"]["port"] in listening
                assert LIVE.path == probe["httpGet"]["path"]


def test_every_deployment_is_probed() -> None:
    """Whether it serves or works, it has all three probes."""
    probes = {
        name: {key for key in template["spec"]["containers"][0] if key.endswith("Probe")} for name, template in pods()
    }
    assert {"startupProbe", "readinessProbe", "livenessProbe"} == probes["clawback-serve"] == probes["clawback-work"]


def test_services_send_to_ports_that_are_there() -> None:
    """What a Service sends to is a named port of the pods that it finds."""
    containers = {name: template["spec"]["containers"][0] for name, template in pods()}
    listening = {each["name"] for each in containers["clawback-serve"]["ports"]}
    assert {"http", "admin"} == listening
    for one in of_kind("Service"):
        assert {each["targetPort"] for each in one["spec"]["ports"]} <= listening


def test_scrapes_ask_for_metrics_where_they_are(tmp_path: Path) -> None:
    """Pods that say that they are to be scraped name the admin port and a route of ours."""
    settings = load(configuration(tmp_path), {})
    for name, port in {"serve": settings.server.admin_port, "work": settings.work.metrics_port}.items():
        asked = named("Deployment", f"clawback-{name}")["spec"]["template"]["metadata"]["annotations"]
        assert str(port) == asked["prometheus.io/port"]
        assert asked["prometheus.io/path"] in ROUTES


def test_compose_is_scraped_where_it_answers() -> None:
    """Prometheus asks every endpoint and every worker by its name here, and on the port that it listens on."""
    scrapes = yaml.safe_load((ROOT / "deploy" / "prometheus" / "prometheus.yml").read_text("utf-8"))["scrape_configs"]
    targets = {target for job in scrapes for each in job["static_configs"] for target in each["targets"]}
    port = {"serve": str(Server().port), "work": services()["work-1"]["environment"]["CLAWBACK_WORK__METRICS_PORT"]}
    assert {f"{n}:{port[one['command'][0]]}" for n, one in services().items() if n != "migrate"} == targets


def test_scaling_asks_for_metrics_that_exist() -> None:
    """KEDA looks at how much waits and how long, by names that the code writes; everybody answers for the whole."""
    (scaled,) = of_kind("ScaledObject")
    queries = [trigger["metadata"]["query"] for trigger in scaled["spec"]["triggers"]]

    assert ["max(clawback_inbox_pending)", "max(clawback_inbox_oldest_seconds)"] == queries
    assert {name for query in queries for name in re.findall(r"clawback_\w+", query)} <= gauges()
    for trigger in scaled["spec"]["triggers"]:
        assert float(trigger["metadata"]["threshold"]) > 0


def test_a_stop_has_time_to_drain() -> None:
    """What a pod is given to end is more than what ours takes, and than what it sleeps before."""
    for one in of_kind("Deployment"):
        spec = one["spec"]["template"]["spec"]
        before = spec["containers"][0].get("lifecycle", {}).get("preStop", {}).get("exec", {}).get("command", ["", "0"])
        assert spec["terminationGracePeriodSeconds"] > STOP_GRACE_SECONDS + 5 + int(before[1])


def test_no_secret_is_in_a_manifest() -> None:
    """What has to be secret is somebody else's to write: here are only places for it."""
    for one in of_kind("Secret"):
        assert all("CHANGE-ME" in value for value in one["stringData"].values())
    for each in lists(list(objects())):
        assert each.get("name") not in SECRET or "valueFrom" in each


def test_whoever_stores_bodies_seals_them() -> None:
    """Every container that serves or works has the one key: none puts notifications there in clear."""
    sealing = [role for role in roles() if role.arguments[0] in ("serve", "work")]
    keys = {role.name: load(None, role.environment).store.encryption_keys for role in sealing}

    assert {(SECRETS["encryption-keys"],)} == set(keys.values()), keys
