"""What the operator writes is what the service gets, or one clear line per mistake."""

import re
import tomllib
from pathlib import Path

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from config.load import load
from config.problems import ConfigError, known_keys
from config.settings import Settings

EXAMPLE = Path(__file__).parents[2] / "clawback.example.toml"
SECRET = "whsec_YW4gYW5udWFsIHBsYW4sIHJlZnVuZGVkIGluIE1heQ=="
SUBSCRIBER = f"""
[apps.acme]
[[subscribers]]
app = "acme"
url = "https://api.acme.example/refunds"
secrets = ["{SECRET}"]
"""


@pytest.fixture
def write(tmp_path: Path):
    """Write a configuration file and give its path."""

    def write(text: str) -> Path:
        path = tmp_path / "clawback.toml"
        path.write_text(text, encoding="utf-8")
        return path

    return write


def mistakes(path: Path | None, environ: dict[str, str] | None = None) -> tuple[str, ...]:
    """Load what must not load, and give the lines."""
    with pytest.raises(ConfigError) as caught:
        load(path, environ or {})
    return caught.value.lines


def keys_of(value: object, prefix: tuple[str, ...] = ()) -> set[tuple[str, ...]]:
    """List the keys of a loaded file, with names and numbers as they are."""
    if isinstance(value, dict):
        return {(*prefix, name) for name in value} | {k for n, v in value.items() for k in keys_of(v, (*prefix, n))}
    if isinstance(value, list | tuple):
        return {key for index, entry in enumerate(value) for key in keys_of(entry, (*prefix, str(index)))}
    return set()


class TestFile:
    def test_example_documents_every_key(self):
        """Every key that can be set stands in the example."""
        written = {tuple(path) for path in keys_of(tomllib.loads(EXAMPLE.read_text(encoding="utf-8")))}
        names = {"acme": "NAME", "com.acme.pro.monthly": "NAME"}
        normal = {tuple(names.get(part, part) for part in path) for path in written}

        assert set() == set(known_keys(Settings)) - normal

    def test_example_loads(self):
        """The example is a configuration that works."""
        assert ("acme",) == tuple(load(EXAMPLE, {}).apps)

    def test_nothing_is_a_configuration(self):
        """Every key has a default."""
        assert Settings() == load(None, {})

    def test_paths_are_relative_to_the_file(self, write):
        """A path in the file starts where the file is; an address stays as it is."""
        path = write("""
            [store]
            url = "sqlite:///data/clawback.db"
            [apps.acme.apple]
            root_certificates = ["trust/root.pem"]
            [apps.acme.google]
            jwks = "trust/jwks.json"
            [apps.roadmap.google]
            jwks = "https://www.googleapis.com/oauth2/v3/certs"
        """)

        settings = load(path, {})

        here = path.parent
        assert f"sqlite:///{here}/data/clawback.db" == settings.store.url
        assert settings.apps["acme"].apple
        assert (here / "trust/root.pem",) == settings.apps["acme"].apple.root_certificates
        assert settings.apps["acme"].google
        assert str(here / "trust/jwks.json") == settings.apps["acme"].google.jwks
        assert settings.apps["roadmap"].google
        assert "https://www.googleapis.com/oauth2/v3/certs" == settings.apps["roadmap"].google.jwks

    def test_missing_file_is_one_line(self, tmp_path):
        """A file that is not there is named, with a way on."""
        path = tmp_path / "clawback.toml"

        assert (f"{path}: there is no such file; clawback.example.toml is a start",) == mistakes(path)

    def test_broken_toml_tells_where(self, write):
        """What is not TOML is told with its line."""
        (line,) = mistakes(write("[server\n"))

        assert "is not TOML" in line
        assert "line 1" in line


class TestEnvironment:
    def test_environment_wins(self, write):
        """A variable replaces what the file says, whatever the case of its name."""
        settings = load(write("[server]\nport = 1\nhost = '::1'\n"), {"Clawback_Server__Port": "9000"})

        assert (9000, "::1") == (settings.server.port, settings.server.host)

    @pytest.mark.parametrize(
        ("text", "tokens"),
        [
            ("a-token-with,a-comma", ("a-token-with,a-comma",)),
            ("first\nsecond\n", ("first", "second")),
            ('["first", "second"]', ("first", "second")),
        ],
    )
    def test_lists_are_json_or_lines(self, text, tokens):
        """A list is JSON, or one entry per line; a comma is part of a secret."""
        assert tokens == load(None, {"CLAWBACK_ADMIN__TOKENS": text}).admin.tokens

    def test_secret_comes_from_a_file(self, tmp_path):
        """`…_FILE` names a file with the value, without the newline at its end."""
        secret = tmp_path / "stripe"
        secret.write_text("whsec_annual\n", encoding="utf-8")

        settings = load(None, {"CLAWBACK_APPS__ACME__STRIPE__WEBHOOK_SECRETS_FILE": str(secret)})

        assert settings.apps["acme"].stripe
        assert ("whsec_annual",) == settings.apps["acme"].stripe.webhook_secrets

    def test_secret_and_its_file_are_one_too_many(self, tmp_path):
        """A value and a file for the same key contradict each other."""
        environ = {"CLAWBACK_ADMIN__METRICS_TOKEN": "a", "CLAWBACK_ADMIN__METRICS_TOKEN_FILE": str(tmp_path / "b")}

        assert (
            "CLAWBACK_ADMIN__METRICS_TOKEN_FILE: CLAWBACK_ADMIN__METRICS_TOKEN is set too; keep one of the two",
        ) == mistakes(None, environ)

    def test_unreadable_secret_file_is_one_line(self, tmp_path):
        """A file that cannot be read is told by the variable, without what it holds."""
        assert (
            "CLAWBACK_ADMIN__METRICS_TOKEN_FILE: cannot read the file it names: No such file or directory",
        ) == mistakes(None, {"CLAWBACK_ADMIN__METRICS_TOKEN_FILE": str(tmp_path / "gone")})

    def test_entry_of_a_list_goes_by_its_number(self, write):
        """One key of one subscriber can come from the environment alone."""
        path = write(SUBSCRIBER.replace(f'secrets = ["{SECRET}"]', ""))

        assert (SECRET,) == load(path, {"CLAWBACK_SUBSCRIBERS__0__SECRETS": SECRET}).subscribers[0].secrets

    def test_subscribers_need_no_file(self):
        """A whole list of tables can be JSON."""
        environ = {
            "CLAWBACK_APPS": '{"acme": {"products": {"Com.Acme.Pro": {"units": 3}}}}',
            "CLAWBACK_SUBSCRIBERS": f'[{{"app": "acme", "url": "https://acme.example", "secrets": ["{SECRET}"]}}]',
        }

        settings = load(None, environ)

        assert ("acme",) == tuple(subscriber.app for subscriber in settings.subscribers)
        assert 3 == settings.apps["acme"].products["Com.Acme.Pro"].units

    def test_names_are_matched_without_case(self, write):
        """A variable reaches an app that the file spells with capitals."""
        path = write("[apps.Acme.stripe]\nwebhook_secrets = ['whsec_a']\n")

        settings = load(path, {"CLAWBACK_APPS__ACME__STRIPE__LIVEMODE": "false"})

        assert ("Acme",) == tuple(settings.apps)
        assert settings.apps["Acme"].stripe
        assert (False, ("whsec_a",)) == (
            settings.apps["Acme"].stripe.livemode,
            settings.apps["Acme"].stripe.webhook_secrets,
        )

    def test_empty_variable_sets_nothing(self, write):
        """A variable that a template left empty is as good as none."""
        assert 1 == load(write("[server]\nport = 1\n"), {"CLAWBACK_SERVER__PORT": ""}).server.port

    @pytest.mark.parametrize(
        ("name", "value"),
        [
            ("CLAWBACK_SERVICE_HOST", "10.0.0.1"),
            ("CLAWBACK_PORT", "tcp://10.0.0.1:8080"),
            ("CLAWBACK_PORT_8080_TCP_ADDR", "10.0.0.1"),
            ("CLAWBACK_SERVICE_PORT_HTTP", "8080"),
        ],
    )
    def test_kubernetes_is_not_the_operator(self, name, value):
        """What Kubernetes injects for a Service called clawback is no unknown key."""
        assert Settings() == load(None, {name: value})


class TestUnknownKeys:
    @pytest.mark.parametrize(
        ("text", "line"),
        [
            ("[server]\nprot = 1\n", "server.prot is not a key; did you mean server.port?"),
            ("[sever]\nport = 1\n", "sever is not a key; did you mean server?"),
            ("[apps.acme.stripe]\nsecrets = []\n", "apps.acme.stripe.secrets is not a key; did you mean"),
            ("[store]\nport = 1\n", "store.port is not a key; did you mean server.port?"),
            ("[apps.a.products.x]\nunit = 1\n", "apps.a.products.x.unit is not a key; did you mean apps.a.products.x"),
        ],
    )
    def test_file_names_the_nearest(self, write, text, line):
        """An unknown key in the file is refused with the nearest known one."""
        (told,) = mistakes(write(text))

        assert line in told

    @pytest.mark.parametrize(
        ("name", "line"),
        [
            ("CLAWBACK_SERVER__PROT", "server.prot is not a key; did you mean server.port?"),
            ("CLAWBACK_SERVR__PORT", "servr is not a key; did you mean server?"),
            ("CLAWBACK_SERVER_PORT", "server_port is not a key; did you mean server.port?"),
        ],
    )
    def test_environment_names_the_variable(self, name, line):
        """An unknown key in the environment is told by its variable."""
        assert (f"{name}: {line}",) == mistakes(None, {name: "1"})

    @given(name=st.text("abcdefghijklmnopqrstuvwxyz_", min_size=1, max_size=30))
    def test_no_unknown_key_goes_unnoticed(self, name):
        """Whatever a key is called, it is known, or it is refused."""
        assume(name not in {"host", "port", "admin_port", "body_timeout_seconds"})

        (line,) = mistakes(None, {"CLAWBACK_SERVER": f'{{"{name}": 1}}'})

        assert f"server.{name} is not a key; did you mean" in line

    def test_whatever_a_key_holds_it_is_one_line(self, write):
        """A quoted key may hold ends of lines and what colors a terminal: they are shown, and not done."""
        path = write('"8\\n0" = 1\n"\\u001B[31m\\u2028ä" = 2\n')

        lines = mistakes(path)
        assert [f"{path}: 8\\n0 is not a key", f"{path}: \\x1b[31m\\u2028ä is not a key"] == [
            line.partition(";")[0] for line in lines
        ]
        assert "\n".join(lines) == str(ConfigError(lines))

    def test_every_mistake_is_told_at_once(self, write):
        """One look at the lines is enough to mend the file."""
        lines = mistakes(write("[server]\nprot = 1\nport = 'x'\n"), {"CLAWBACK_WORK__THREADS": "0"})

        assert 3 == len(lines)


class TestMeaning:
    @pytest.mark.parametrize(
        ("text", "line"),
        [
            (SUBSCRIBER.replace('"acme"', '"acme2"'), "subscribers[0].app names 'acme2', which is not an app here"),
            (SUBSCRIBER.replace(SECRET, "whsec_c2hvcnQ="), "secrets[0] holds 5 bytes; at least 24 are needed"),
            (SUBSCRIBER.replace(SECRET, "plain"), "secrets[0] does not start with whsec_"),
            (SUBSCRIBER.replace(SECRET, "whsec_%%%"), "secrets[0] is not base64"),
            (SUBSCRIBER.replace("https://api", "ftp://api"), "url is not an http:// or https:// address"),
            (SUBSCRIBER.replace("https://api", "http://api"), "url is http://, which anybody on the way can read"),
            (SUBSCRIBER.replace("https://api", "https://a:b@api"), "url holds credentials"),
            (SUBSCRIBER.replace("https://api", "https://[api"), "url is not an http:// or https:// address"),
            (SUBSCRIBER.replace("https://api", "https://api" + "i" * 2048), "url has more than 2048 characters"),
            (SUBSCRIBER.replace(SECRET, "whsk_c2hvcnQ="), "secrets[0] holds 5 bytes; an ed25519 key has 32"),
            (SUBSCRIBER + "types = ['refund']\n", "subscribers[0].types[0] is none of a type"),
            (SUBSCRIBER + SUBSCRIBER.partition("[[subscribers]]")[2].join(("[[subscribers]]", "")), "make them one"),
            ("[apps.acme.amazon]\ntopic_arns = ['arn:aws:sns:nowhere']", "topic_arns[0] is not arn:aws:sns:"),
            ("[apps.acme.apple]\nbundle_id = 'com.acme'", "apps.acme.apple.app_apple_id is 0"),
            ("[apps.'a/b'.stripe]", "is no name for an app"),
            ("[broker]\nurl = 'amqp://rabbit'", "broker.url is neither embedded nor one of"),
            ("[store]\nurl = 'mysql://there'", "store.url is none of"),
            ("[store]\nurl = 'sqlite:///:memory:'", "store.url names no file"),
            ("[store]\nencryption_keys = ['c2hvcnQ=']", "store.encryption_keys[0] is no Fernet key"),
            ("[admin]\ntokens = ['']", "admin.tokens[0] is empty"),
            ("[server]\nport = 8080\nadmin_port = 8080", "server.admin_port is the port itself"),
        ],
    )
    def test_what_cannot_work_is_refused(self, write, text, line):
        """A well-typed value that cannot work is refused, by its key."""
        (told,) = mistakes(write(text))

        assert line in told

    def test_sandbox_needs_no_store_number(self, write):
        """Only production notifications carry the app's number in the store."""
        settings = load(write("[apps.acme.apple]\nbundle_id = 'com.acme'\nenvironments = ['Sandbox']\n"), {})

        assert settings.apps["acme"].platform("apple")

    def test_no_value_is_ever_quoted(self, write):
        """A mistake is told without what was written there: it may be a secret."""
        lines = mistakes(write("[admin]\ntokens = 'hunter2'\nmetrics_token = ['hunter2']\n"), {})

        assert 2 == len(lines)
        assert not any("hunter2" in line for line in lines)


@pytest.mark.parametrize(
    ("url", "says"),
    [
        ("postgresql://clawback@db.acme.example/clawback", None),
        ("postgresql:///clawback?host=/run/postgresql", None),
        ("postgresql://clawback:s3cret%40@db/clawback?sslmode=verify-full", None),
        ("postgresql://clawback:s3cret@db", "names no database"),
        ("postgresql://db/clawback?password=s3cret", "has a password after the ?"),
        ("postgresql://clawback:s3cret@db:port/clawback", "is no address"),
        ("postgresql+asyncpg://db/clawback", "is none of sqlite://, postgresql://"),
        ("mysql://db/clawback", "is none of sqlite://, postgresql://"),
    ],
)
def test_an_address_of_a_database_is_checked_and_never_quoted(url: str, says: str | None):
    """PostgreSQL's addresses are taken as its own programs take them; a password is never shown, right or wrong."""
    if says is None:
        assert "s3cret" not in repr(load(None, {"CLAWBACK_STORE__URL": url}))
        return
    with pytest.raises(ConfigError, match=re.escape(says)) as refused:
        load(None, {"CLAWBACK_STORE__URL": url})

    assert "s3cret" not in str(refused.value)
