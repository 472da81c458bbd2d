"""Read compose.yaml and deploy/kubernetes, and what they would give each container: command, environment, files."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import yaml  # type: ignore[import-untyped]  # it has no annotations; what is read is checked below

from tests.house.tree import ROOT

KUBERNETES = ROOT / "deploy" / "kubernetes"
SECRETS = {
    "store-url": "postgresql://clawback:a-password@db/clawback",
    "admin-tokens": "a-token-of-more-than-16-characters",
    "encryption-keys": "MDEyMzQ1Njc4OTAxMjM0NTY3ODkwMTIzNDU2Nzg5MDE=",
}
VARIABLES = {
    "POSTGRES_PASSWORD": "a-password",
    "CLAWBACK_ADMIN_TOKEN": SECRETS["admin-tokens"],
    "CLAWBACK_ENCRYPTION_KEY": SECRETS["encryption-keys"],
    "GRAFANA_PASSWORD": "another-password",
}
"""What an operator writes into .env."""


@dataclass(frozen=True)
class Role:
    """One container of ours, as an engine would start it.

    Attributes:
        arguments: of `clawback`, which is the image's entrypoint.
    """

    name: str
    arguments: tuple[str, ...]
    environment: Mapping[str, str]


@cache
def compose() -> dict[str, Any]:
    """Read compose.yaml, with its anchors resolved."""
    return dict(yaml.safe_load((ROOT / "compose.yaml").read_text("utf-8")))


@cache
def objects() -> tuple[dict[str, Any], ...]:
    """Read every object below deploy/kubernetes."""
    files = sorted(KUBERNETES.glob("*.yaml"))
    return tuple(found for file in files for found in yaml.safe_load_all(file.read_text("utf-8")))


def of_kind(*kinds: str) -> Iterator[dict[str, Any]]:
    """Walk over the objects of these kinds."""
    return (found for found in objects() if found["kind"] in kinds)


def named(kind: str, name: str) -> dict[str, Any]:
    """Find one object."""
    (found,) = (one for one in of_kind(kind) if one["metadata"]["name"] == name)
    return found


def pods() -> Iterator[tuple[str, dict[str, Any]]]:
    """Walk over what runs pods: its name, and their template."""
    return ((one["metadata"]["name"], one["spec"]["template"]) for one in of_kind("Deployment", "Job"))


def services() -> dict[str, dict[str, Any]]:
    """Pick the services of compose.yaml that run our image."""
    return {name: one for name, one in compose()["services"].items() if one["image"] == "clawback"}


def roles() -> list[Role]:
    """List every container of ours, of both."""
    composed = [
        Role(f"compose:{name}", tuple(one["command"]), {k: interpolated(v) for k, v in one["environment"].items()})
        for name, one in services().items()
    ]
    return composed + [
        Role(f"kubernetes:{name}", tuple(container["args"]), {one["name"]: _value(one) for one in container["env"]})
        for name, template in pods()
        for container in template["spec"]["containers"]
    ]


def interpolated(text: str) -> str:
    """Replace `${NAME:?what to do}` as compose does."""
    for name, value in VARIABLES.items():
        if text.startswith(f"${{{name}:?"):
            return value
    return text


def configuration(directory: Path) -> Path:
    """Write the configuration of the ConfigMap where it can be read."""
    file = directory / "clawback.toml"
    file.write_text(named("ConfigMap", "clawback")["data"]["clawback.toml"], "utf-8")
    return file


def _value(variable: Mapping[str, Any]) -> str:
    if "value" in variable:
        return str(variable["value"])
    asked = variable["valueFrom"]["secretKeyRef"]
    assert asked["key"] in named("Secret", asked["name"])["stringData"]
    return SECRETS[asked["key"]]
