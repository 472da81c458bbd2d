"""`clawback listen` and `clawback trigger` as a developer runs them, beside a running service and a receiver.

Real: the service with its broker and its database, both commands, the receiver's HTTP, the independent verifier.
"""

import json
import queue
import signal
import subprocess
import threading
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
from standardwebhooks.webhooks import Webhook

from schemas.events import EVENT_TYPES
from tests.cli.processes import announced, clawback, eventually, running
from tests.clusters import free_port
from tests.services import require_valkey

pytestmark = pytest.mark.e2e

TOKEN = "a-token-of-more-than-16-characters"
SECRET = "whsec_MDEyMzQ1Njc4OTAxMjM0NTY3ODkwMTIzNDU2Nzg5MDE="
SECONDS_MAX = 30.0
CONFIG = f"""
[server]
port = 0
stream_heartbeat_seconds = 0.5
[admin]
tokens = ["{TOKEN}"]
[subscribing]
allow_private = true
[apps.acme.stripe]
webhook_secrets = ["whsec_annual"]
[apps.acme.products.annual]
entitlements = ["pro"]
"""


class Receiver:
    """A developer's receiver: what it was sent, and what it answers."""

    def __init__(self) -> None:
        self.got: queue.Queue[tuple[dict[str, str], bytes]] = queue.Queue()
        self.status = 204
        receiver = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["content-length"]))
                receiver.got.put(({name.lower(): value for name, value in self.headers.items()}, body))
                self.send_response(receiver.status)
                self.end_headers()

            def log_message(self, *_: Any) -> None:
                """Say nothing."""

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_port}/hooks"

    def verified(self, secret: str) -> Any:
        """Wait for the next event, and verify it as a subscriber does."""
        headers, body = self.got.get(timeout=SECONDS_MAX)
        event = Webhook(secret).verify(body, headers)
        assert headers["webhook-id"] == event["id"]
        return event


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    """Run a receiver."""
    made = Receiver()
    thread = threading.Thread(target=made.server.serve_forever)
    thread.start()
    yield made
    made.server.shutdown()
    thread.join()
    made.server.server_close()


@pytest.fixture(scope="module")
def api(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Run the whole service, and give its address."""
    require_valkey()
    directory = tmp_path_factory.mktemp("service")
    (directory / "clawback.toml").write_text(CONFIG)
    options = ("--config", str(directory / "clawback.toml"), "--data-dir", str(directory / "data"))
    with running("run", "--json", *options) as process:
        yield announced(process)["api"].removesuffix("/v1")


def buy(api: str, user: str) -> None:
    """Tell the service of a purchase, of which events follow."""
    told = {"app": "acme", "platform": "stripe", "environment": "production", "purchase_id": f"ch_{user}"}
    body = json.dumps({**told, "product_id": "annual", "user_id": user, "purchased_at": 1}).encode()
    headers = {"Authorization": f"Bearer {TOKEN}", "Content-Type": "application/json"}
    with urllib.request.urlopen(urllib.request.Request(f"{api}/v1/purchases", body, headers)) as answer:  # noqa: S310 - an address of our own
        assert answer.status == 201


@contextmanager
def listening(api: str, tmp_path: Path, *arguments: str) -> Iterator[tuple[subprocess.Popen[str], dict[str, Any]]]:
    """Run `clawback listen` until it is ready; give the process and what it said first."""
    environment = {"CLAWBACK_TOKEN": TOKEN, "XDG_STATE_HOME": str(tmp_path)}
    with running("listen", "--url", api, "--json", *arguments, environment=environment) as process:
        assert process.stdout
        yield process, said(process)


def said(process: subprocess.Popen[str]) -> dict[str, Any]:
    """Read one line."""
    assert process.stdout
    line = process.stdout.readline()
    assert line, process.stderr.read() if process.stderr else ""
    return dict(json.loads(line))


def test_events_are_forwarded_as_a_subscriber_would_get_them(api: str, tmp_path: Path, receiver: Receiver):
    """What happens is posted, signed with the secret that is printed, and what the receiver answered is shown."""
    with listening(api, tmp_path, "--forward-to", receiver.url, "--customer", "ada") as (process, ready):
        buy(api, "somebody-else")
        buy(api, "ada")
        event, line = receiver.verified(ready["secret"]), said(process)
        assert ("entitlement.granted", {"user_id": "ada"}) == (event["type"], event["customer"])
        assert (event, 204) == (line["event"], line["forwarded"]["status"])

        process.send_signal(signal.SIGINT)
        assert (0, "") == (process.wait(SECONDS_MAX), process.stderr.read() if process.stderr else "")
    assert receiver.got.empty()
    assert not list(tmp_path.rglob("listen.json"))


def test_a_line_for_each_event(api: str, tmp_path: Path):
    """Without a receiver events are shown, a line for each; and what was told before may be asked for."""
    buy(api, "bob")
    environment = {"CLAWBACK_TOKEN": TOKEN, "CLAWBACK_URL": api, "XDG_STATE_HOME": str(tmp_path)}
    with running("listen", "--since", "10m", "--customer", "bob", environment=environment) as process:
        assert process.stdout
        lines = [process.stdout.readline() for _ in range(2)]

    assert lines[0] == f"Listening to {api}. Ctrl-C ends it.\n"
    assert "entitlement.granted" in lines[1]
    assert lines[1].rstrip().endswith("bob")


def test_a_receiver_that_is_away_is_told_of_and_no_end(api: str, tmp_path: Path):
    """Where nothing listens the line says so, and the next event is forwarded all the same."""
    with listening(api, tmp_path, "--forward-to", f"127.0.0.1:{free_port()}/hooks") as (process, _):
        buy(api, "cyd")
        buy(api, "dan")
        errors = [said(process)["forwarded"]["error"] for _ in range(2)]

    assert ["nothing listens there"] * 2 == errors


def test_a_broken_connection_is_taken_up_again(tmp_path: Path, receiver: Receiver):
    """When the service goes and comes back, listening goes on where it broke off: nothing is missed, nothing twice."""
    require_valkey()
    port = free_port()
    (tmp_path / "clawback.toml").write_text(CONFIG.replace("port = 0", f"port = {port}"))
    options = ("--config", str(tmp_path / "clawback.toml"), "--data-dir", str(tmp_path / "data"))
    api = f"http://127.0.0.1:{port}"
    with running("run", "--json", *options) as service:
        announced(service)
        listener = listening(api, tmp_path, "--forward-to", receiver.url, "--secret", SECRET)
        process, _ = listener.__enter__()
        buy(api, "eve")
        first = receiver.verified(SECRET)
        service.send_signal(signal.SIGTERM)
        assert service.wait(SECONDS_MAX) == 0
    with running("run", "--json", *options) as service:
        announced(service)
        buy(api, "fay")
        second = receiver.verified(SECRET)
        process.send_signal(signal.SIGINT)
        assert process.wait(SECONDS_MAX) == 0
    listener.__exit__(None, None, None)

    assert ["eve", "fay"] == [event["customer"]["user_id"] for event in (first, second)]
    assert receiver.got.empty()


@pytest.mark.parametrize(
    ("arguments", "code", "line"),
    [
        (("--token", "wrong"), 1, "does not know this token"),
        (("--types", "refund.suceeded"), 1, "the nearest is 'refund.succeeded'"),
        (("--since", "yesterday"), 1, "says 400"),
        (("--forward-to", "ftp://x"), 2, "is no address of a receiver"),
        (("--forward-to", "http://:x/"), 2, "is no address of a receiver"),
        (("--secret", "whsec_"), 2, "is no Standard Webhooks secret"),
    ],
)
def test_a_mistake_is_one_line(api: str, arguments: tuple[str, ...], code: int, line: str):
    """A wrong token, filter, receiver or secret is one line that says what to do."""
    done = clawback("listen", "--url", api, *arguments, environment={"CLAWBACK_TOKEN": TOKEN})

    assert (code, 1) == (done.returncode, len(done.stderr.splitlines())), done.stderr
    assert line in done.stderr


def test_a_service_that_is_not_there_is_one_line(tmp_path: Path):
    """Nothing at the address, or no address at all: one line that says what to do."""
    away = clawback("listen", "--url", f"127.0.0.1:{free_port()}", "--token", "x")
    nowhere = clawback("listen", "--data-dir", str(tmp_path))

    assert (1, True) == (away.returncode, "cannot reach" in away.stderr)
    assert (2, True) == (nowhere.returncode, "name the service with --url and --token" in nowhere.stderr)


def test_a_sample_goes_where_listen_forwards(api: str, tmp_path: Path, receiver: Receiver):
    """While events are forwarded, a sample of any type is sent there with no more than its name."""
    with listening(api, tmp_path, "--forward-to", receiver.url) as (_, ready):
        assert eventually(lambda: list(tmp_path.rglob("listen.json")))
        done = clawback("trigger", "entitlement.revoked", environment={"XDG_STATE_HOME": str(tmp_path)})
        event = receiver.verified(ready["secret"])

    assert 0 == done.returncode, done.stderr
    assert ("entitlement.revoked", "sandbox") == (event["type"], event["environment"])
    assert event["id"] in done.stdout
    again = clawback("trigger", "entitlement.revoked", environment={"XDG_STATE_HOME": str(tmp_path)})
    assert (2, 1) == (again.returncode, len(again.stderr.splitlines()))


def subscribe(api: str, url: str) -> str:
    """Subscribe by the API, and give the id."""
    wanted = {"app": "acme", "url": url, "types": ["refund.*"], "secret": SECRET, "allow_private": True}
    headers = {"Authorization": f"Bearer {TOKEN}", "Content-Type": "application/json"}
    request = urllib.request.Request(f"{api}/v1/subscribers", json.dumps(wanted).encode(), headers)  # noqa: S310 - an address of our own
    with urllib.request.urlopen(request) as answer:  # noqa: S310 - the same
        return str(json.loads(answer.read())["id"])


def test_a_sample_is_sent_by_the_service(api: str, receiver: Receiver):
    """Asked for a subscriber of its own, the service sends it a sample of any type, signed with that one's secret."""
    who, environment = subscribe(api, receiver.url), {"CLAWBACK_TOKEN": TOKEN, "CLAWBACK_URL": api}
    done = clawback("trigger", "entitlement.revoked", "--subscriber", who, environment=environment)
    event = receiver.verified(SECRET)
    shown = clawback("trigger", "refund.failed", "--subscriber", who, "--json", environment=environment)
    other = receiver.verified(SECRET)
    said = json.loads(shown.stdout)

    assert (0, "", 0, "") == (done.returncode, done.stderr, shown.returncode, shown.stderr)
    assert ("entitlement.revoked", "acme", True) == (event["type"], event["app"], event["test"])
    assert done.stdout.startswith(f"entitlement.revoked {event['id']} to {who}: 204 in ")
    assert ("refund.failed", other["id"], True, 204) == tuple(
        said[name] for name in ("type", "event", "delivered", "status_code")
    )

    receiver.status = 500
    refused = clawback("trigger", "refund.failed", "--subscriber", who, environment=environment)
    assert (1, True) == (refused.returncode, ": 500 in " in refused.stdout)


def test_a_sample_that_the_service_cannot_send_is_one_line(api: str):
    """No such subscriber, a wrong token or service, and what only this side could do: one line each."""
    told = ("trigger", "refund.failed", "--subscriber", "sub_nobody", "--url")
    unknown = clawback(*told, api, "--token", TOKEN)
    stranger = clawback(*told, api, "--token", "of-somebody-else")
    away = clawback(*told, f"127.0.0.1:{free_port()}", "--token", TOKEN)
    ours = clawback(*told, api, "--token", TOKEN, "--id", "evt_1", "--secret", SECRET)

    assert [1, 1, 1, 2] == [done.returncode for done in (unknown, stranger, away, ours)]
    assert [1] * 4 == [len(done.stderr.splitlines()) for done in (unknown, stranger, away, ours)]
    assert "says 404" in unknown.stderr
    assert "does not know this token" in stranger.stderr
    assert "cannot reach" in away.stderr
    assert "leave out --secret, --id" in ours.stderr


@pytest.mark.parametrize("event_type", ["entitlement.revoked", "refund.requested", "balance.restored"])
def test_a_sample_is_what_it_is_asked_to_be(event_type: str, receiver: Receiver):
    """A sample arrives signed and complete, with the id, the app and the customer that it was asked to have."""
    options = (
        "--to",
        receiver.url,
        "--secret",
        SECRET,
        "--user",
        "ada",
        "--app",
        "other",
        "--id",
        "evt_twice",
        "--json",
    )
    done = clawback("trigger", event_type, *options)
    event = receiver.verified(SECRET)

    assert 0 == done.returncode, done.stderr
    assert event == json.loads(done.stdout)["event"]
    assert (event_type, "evt_twice", "other", "ada") == (
        event["type"],
        event["id"],
        event["app"],
        event["customer"]["user_id"],
    )


def test_the_list_of_types():
    """Every type is listed, with a sentence that says when it is sent."""
    assert set(EVENT_TYPES) == {one["type"] for one in json.loads(clawback("trigger", "--list", "--json").stdout)}
    assert len(EVENT_TYPES) == len(clawback("trigger", "--list").stdout.splitlines())


def test_what_a_receiver_says_is_the_exit_code(receiver: Receiver):
    """An answer that is not 2xx fails, and so does none; what cannot be sent at all is a mistake of usage."""
    receiver.status = 500
    refused = clawback("trigger", "refund.failed", "--to", receiver.url, "--secret", SECRET)
    away = clawback("trigger", "refund.failed", "--to", f"127.0.0.1:{free_port()}", "--secret", SECRET)
    unknown = clawback("trigger", "refund.fialed", "--to", receiver.url, "--secret", SECRET)

    assert (1, True) == (refused.returncode, ": 500 in " in refused.stdout)
    assert (1, True) == (away.returncode, "nothing listens there" in away.stdout)
    assert (2, True) == (unknown.returncode, "the nearest is 'refund.failed'" in unknown.stderr)
