"""The container image is made of what it names, runs as nobody, and knows whether it is well.

No test builds it: that takes a container engine and a registry. What can be read of it is read.
"""

import importlib.util
import re
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from types import ModuleType

import pytest

from tests.house.tree import PACKAGES, ROOT

HEALTHCHECK = ROOT / "deploy" / "healthcheck.py"
SERVE = ["/opt/clawback/bin/python", "/opt/clawback/bin/clawback", "serve"]


def _instructions(name: str) -> list[str]:
    text = (ROOT / "Dockerfile").read_text("utf-8").replace("\\\n", " ")
    return [line.removeprefix(name).strip() for line in text.splitlines() if line.startswith(f"{name} ")]


def _copied() -> list[str]:
    words = [line.split() for line in _instructions("COPY") if not line.startswith("--from")]
    return [source for line in words for source in line[:-1]]


def _environment() -> dict[str, str]:
    words = [word for line in _instructions("ENV") for word in line.split()]
    return dict(word.split("=", 1) for word in words)


@pytest.fixture(name="healthcheck", scope="module")
def _healthcheck() -> ModuleType:
    spec = importlib.util.spec_from_file_location("healthcheck", HEALTHCHECK)
    assert spec
    assert spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


class _Endpoint(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        self.send_response(200 if self.path == "/healthz" else 404)
        self.end_headers()

    def log_message(self, *_arguments: object) -> None:
        """Say nothing."""


@pytest.fixture(name="port")
def _port() -> Iterator[int]:
    with HTTPServer(("127.0.0.1", 0), _Endpoint) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield server.server_port
        server.shutdown()
        thread.join()


def test_what_the_image_copies_is_sent_to_its_build() -> None:
    """Each file that the Dockerfile copies exists and passes the ignore file."""
    sent = {line[1:] for line in (ROOT / ".dockerignore").read_text("utf-8").splitlines() if line.startswith("!")}

    assert set() == set(_copied()) - sent
    assert [] == [name for name in sent if not (ROOT / name).exists()]


def test_the_image_has_the_four_packages() -> None:
    """A package that the image forgets is missing only when it runs."""
    assert set() == set(PACKAGES) - set(_copied())


def test_the_image_runs_as_nobody() -> None:
    """The last word on the user is a number other than root's."""
    assert re.fullmatch(r"[1-9]\d*:[1-9]\d*", _instructions("USER")[-1])


def test_what_is_told_to_type_runs_read_only_and_without_a_privilege() -> None:
    """The command of the deployment page shuts all that the image does not need."""
    page = (ROOT / "deploy" / "README.md").read_text("utf-8")
    command = page.partition("docker run --detach")[2].partition("```")[0]

    for option in ("--read-only", "--tmpfs /tmp", "--cap-drop ALL", "--security-opt no-new-privileges"):
        assert option in command
    assert f"--volume clawback-data:{_environment()['CLAWBACK_DATA_DIR']}" in command


def test_the_image_writes_where_its_user_may() -> None:
    """The data directory is its working directory, and made for its user alone; no other is written to."""
    home, user = _environment()["CLAWBACK_DATA_DIR"], _instructions("USER")[-1].partition(":")[0]
    made = next(line for line in _instructions("RUN") if "install --directory" in line)

    assert f"--owner={user} --group={user} --mode=0700 {home}" in " ".join(made.split())
    assert home == _instructions("WORKDIR")[-1]
    assert "1" == _environment()["PYTHONDONTWRITEBYTECODE"]


def test_the_image_is_the_command() -> None:
    """Its arguments are the verbs of the command line: the role is chosen where it is started."""
    assert ['["clawback"]'] == _instructions("ENTRYPOINT")


def test_instructions_that_take_a_list_are_given_one() -> None:
    """A command that a shell would run is no process of ours: a signal to stop would reach the shell alone."""
    for name in ("ENTRYPOINT", "CMD"):
        assert all(re.fullmatch(r'\[("[^"]+"(, )?)+\]', line) for line in _instructions(name))
    assert ["SIGTERM"] == _instructions("STOPSIGNAL")


def test_the_image_is_built_of_what_is_pinned() -> None:
    """Packages come by their hashes, nothing comes from an address, and no stage is of whatever is newest."""
    text = (ROOT / "Dockerfile").read_text("utf-8")
    assert "--require-hashes" in text
    assert not re.search(r"^\s*(ADD\b|.*\b(curl|wget|apt-get|sudo)\b)|:latest\b", text, flags=re.MULTILINE)
    assert all(re.fullmatch(r"\$\{PYTHON\}( AS \w+)?", line) for line in _instructions("FROM"))
    assert re.fullmatch(r"PYTHON=python:3\.\d+-slim-\w+", _instructions("ARG")[0])


def test_the_image_holds_no_secret() -> None:
    """No variable of it is a secret's: those are given where it is started."""
    given = re.findall(r"\b([A-Z][A-Z0-9_]+)=", " ".join([*_instructions("ENV"), *_instructions("ARG")]))
    assert not [name for name in given if re.search(r"TOKEN|SECRET|PASSWORD|KEY", name)]


def test_the_last_user_is_nobody_before_anything_runs() -> None:
    """After the user is set nothing more is built, so that nothing of the image is that user's to change."""
    text = (ROOT / "Dockerfile").read_text("utf-8")
    _, _, after = text.rpartition("\nUSER ")
    assert not re.search(r"^(RUN|COPY|USER)\b", after, flags=re.MULTILINE)


@pytest.mark.parametrize("host", ["0.0.0.0", "127.0.0.1"])  # noqa: S104 - asked, not bound
def test_an_endpoint_is_well_if_it_answers(healthcheck: ModuleType, port: int, host: str) -> None:
    """Whatever address the endpoint is bound to, it is asked where it listens."""
    environ = {"CLAWBACK_SERVER__PORT": str(port), "CLAWBACK_SERVER__HOST": host}

    assert "answers 200" == healthcheck.check(SERVE, environ)


def test_the_endpoint_is_asked_where_its_own_configuration_says(
    healthcheck: ModuleType, port: int, tmp_path: Path
) -> None:
    """A configuration file counts, named by variable or by option, and the option wins."""
    file = tmp_path / "clawback.toml"
    file.write_text(f"[server]\nport = {port}\n", "utf-8")

    assert "answers 200" == healthcheck.check(SERVE, {"CLAWBACK_CONFIG": str(file)})
    assert "answers 200" == healthcheck.check([*SERVE, "--config", str(file)], {"CLAWBACK_CONFIG": "/absent.toml"})
    assert "answers 200" == healthcheck.check([*SERVE, f"--config={file}"], {})


def test_a_proxy_is_not_asked_about_our_own_endpoint(
    healthcheck: ModuleType, port: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whatever proxy the environment names for the world outside, the endpoint is asked directly."""
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:9")

    assert "answers 200" == healthcheck.check(SERVE, {"CLAWBACK_SERVER__PORT": str(port)})


def test_an_endpoint_that_does_not_answer_is_not_well(healthcheck: ModuleType, port: int) -> None:
    """Refused connections are found out."""
    with pytest.raises(OSError):
        healthcheck.check(SERVE, {"CLAWBACK_SERVER__PORT": str(port), "CLAWBACK_SERVER__HOST": "127.0.0.2"})


def test_a_worker_is_well_while_it_runs(healthcheck: ModuleType) -> None:
    """A role without an endpoint is not asked for one."""
    assert "runs, and has no endpoint" == healthcheck.check(["clawback", "work", "--processes", "4"], {})
