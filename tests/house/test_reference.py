"""The documents that list what users hold on to list all of it, and nothing else."""

import ast
import json
import re
from collections.abc import Iterator
from typing import Any, get_args, get_origin

from prometheus_client import CollectorRegistry
from pydantic import BaseModel
from pydantic.fields import FieldInfo
from pydantic_core import to_jsonable_python

from config.settings import Settings
from handlers import life
from handlers.announce import (
    BALANCE_EVENTS,
    CHARGEBACK_EVENTS,
    ENTITLEMENT_CHANGES,
    REFUND_DECLINED,
    REFUND_EVENTS,
)
from handlers.clusters import RANK
from handlers.refunds import REFUSED, TRANSITIONS
from schemas.entry import EntryKind
from tests.house.tree import ROOT
from worker.metrics import Metrics
from worker.web.app import API

DOCS = ROOT / "docs"
ROW = re.compile(r"^\| (`[^|]+) \|(?: ([^|]*) \|)?", flags=re.MULTILINE)
ARROW = re.compile(r"^ +(\S+) --> (\S+): (\S+)$", flags=re.MULTILINE)
EVENT_NAME = re.compile(r"[a-z]+\.[a-z_]+")
LOGS = {"debug", "info", "warning", "error", "exception"}


def _section(document: str, heading: str) -> str:
    """Cut out what stands under a heading, up to the next one of its rank."""
    text = (DOCS / document).read_text("utf-8")
    rank = heading.partition(" ")[0]
    return text.partition(f"\n{heading}\n")[2].partition(f"\n{rank} ")[0]


def _first_cells(text: str) -> set[str]:
    """List what the tables of a text name in their first column."""
    return {name for cell, _ in ROW.findall(text) for name in re.findall(r"`([^`]+)`", cell)}


def test_every_configuration_key_is_documented_with_its_default() -> None:
    """Each key of `Settings`, and no other, has a row that names its default."""
    assert dict(_keys(Settings)) == dict(_documented_keys())


def _documented_keys() -> Iterator[tuple[tuple[str, ...], str]]:
    for part in _section("configuration.md", "## Keys").split("\n### ")[1:]:
        heading, _, table = part.partition("\n")
        name = re.sub(r'"PRODUCT"|APP', "NAME", heading.strip("`[]"))
        section = (*name.split("."), "0") if heading.startswith("`[[") else tuple(name.split("."))
        yield from (((*section, key.strip("`")), default.strip("`")) for key, default in ROW.findall(table))


def _keys(model: type[BaseModel], at: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], str]]:
    """Walk over the keys that hold a value, each with its default as the documents write it."""
    for name, field in model.model_fields.items():
        inner = next((a for a in _types(field.annotation) if isinstance(a, type) and issubclass(a, BaseModel)), None)
        if inner is None:
            yield (*at, name), _default(field)
        else:
            named: dict[Any, str] = {dict: "NAME", tuple: "0"}
            between = named.get(get_origin(field.annotation))
            yield from _keys(inner, (*at, name, between) if between else (*at, name))


def _types(annotation: Any) -> tuple[Any, ...]:
    return (annotation, *get_args(annotation))


def _default(field: FieldInfo) -> str:
    if field.is_required():
        return "required"
    return json.dumps(to_jsonable_python(field.get_default(call_default_factory=True)))


def metric_names() -> set[str]:
    """Name every metric that a process counts or a scrape asks for."""
    metrics = Metrics(CollectorRegistry()).registry.collect()
    counted = {f"{metric.name}_total" if metric.type == "counter" else metric.name for metric in metrics}
    scrape = (ROOT / "worker" / "web" / "scrape.py").read_text("utf-8")
    return counted | {f"clawback_{name}" for name in re.findall(r'_(?:gauge|labeled)\("(\w+)"', scrape)}


def test_every_metric_is_documented() -> None:
    """Each metric of the processes and of the scrape, and no other, has a row in the operator's page."""
    names = {name for name in _first_cells(_section("operations.md", "## Metrics")) if name.isidentifier()}
    assert metric_names() == names


def test_every_log_event_is_documented() -> None:
    """Each event name that the worker logs, and no other, has a row in the operator's page."""
    assert set(_logged()) == _first_cells(_section("operations.md", "## Log lines"))


def _logged() -> Iterator[str]:
    """List the texts of the code that are event names: of a family that some `log.…` call begins, or of the door."""
    families, texts, actions = {"ingest"}, set(), set()
    for file in [ROOT / "config" / "logs.py", *(ROOT / "worker").rglob("*.py")]:
        for node in ast.walk(ast.parse(file.read_text("utf-8"))):
            if isinstance(node, ast.Constant) and isinstance(node.value, str) and EVENT_NAME.fullmatch(node.value):
                texts.add(node.value)
            if isinstance(node, ast.keyword) and node.arg == "action" and isinstance(node.value, ast.Constant):
                actions.add(node.value.value)  # a word of the audit log
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr in LOGS:
                first = node.args[0] if node.args else None
                if isinstance(first, ast.Constant) and isinstance(first.value, str):
                    families.add(first.value.partition(".")[0])
    return (text for text in texts - actions if text.partition(".")[0] in families)


def test_every_event_type_is_documented() -> None:
    """Each type of event that can be told, and no other, has a row that says when."""
    entitlements = {f"entitlement.{change}" for change in ENTITLEMENT_CHANGES.values()}
    money = {*REFUND_EVENTS.values(), REFUND_DECLINED, *CHARGEBACK_EVENTS.values(), *BALANCE_EVENTS}

    assert entitlements | money == _first_cells(_section("api.md", "## The feed"))


def test_the_drawing_of_entitlements_is_the_table() -> None:
    """The arrows that are drawn are the changes that are told, each under its own name."""
    drawn = ARROW.findall(_section("ledger.md", "## An entitlement's changes"))

    assert {(before or "[*]", after, change) for (before, after), change in ENTITLEMENT_CHANGES.items()} == set(drawn)


def test_the_front_page_draws_what_is_told() -> None:
    """The few arrows of the front page are among those of the ledger's page."""
    drawn = set(ARROW.findall((ROOT / "README.md").read_text("utf-8")))

    assert drawn
    assert drawn <= set(ARROW.findall(_section("ledger.md", "## An entitlement's changes")))


def test_the_drawing_of_refunds_is_true() -> None:
    """A refund in the state at the beginning of an arrow goes to its end when that is said of it."""
    drawn = ARROW.findall(_section("ledger.md", "## A refund's states"))

    wrong = [
        (before, after, kind)
        for before, after, kind in drawn
        if TRANSITIONS.get((None if before == "[*]" else before, EntryKind(kind))) != after
    ]
    assert drawn
    assert [] == wrong


def test_no_drawn_arrow_of_a_refund_is_missing() -> None:
    """Each way out of a state of a refund is drawn, but for what skips the states between, and comes late."""
    said = [kind for kind in EntryKind if kind.startswith("refund_")]
    before_money = ("to_issue", "declined", "pending", "requires_action")
    states = (*before_money, "succeeded", "failed", "canceled", "reversed")
    open_ = {
        (state, after, str(kind))
        for (state, kind), after in TRANSITIONS.items()
        if state in states and kind in said and after != state and (state, kind) not in REFUSED
    }
    drawn = ARROW.findall(_section("ledger.md", "## A refund's states"))
    asked = {arrow for arrow in open_ if arrow[0] in ("to_issue", "declined")}
    skipped = {arrow for arrow in open_ if arrow[0] in before_money and arrow[1] == "reversed"}
    unlikely = {arrow for arrow in asked if arrow[1] in ("requires_action", "failed", "canceled")}

    assert open_ - skipped - unlikely == {a for a in drawn if a[0] != "[*]" and a[2].startswith("refund_")}


def test_the_drawing_of_a_purchase_s_life_is_the_table() -> None:
    """The arrows that are drawn are the words that change something, each from every state in which it does."""
    states = (None, *(access for access in life.LIFE.values() if access))
    table = {
        (str(before or "[*]"), str(after), str(kind))
        for before in states
        for kind, after in life.LIFE.items()
        if after not in (None, before) and (before, kind) not in life.REFUSED
    }

    assert table == set(ARROW.findall(_section("ledger.md", "## A purchase's life")))


def test_the_rank_is_written_down() -> None:
    """The list that settles ties within one moment has every kind of entry, in the order of the code."""
    written = re.findall(r"^1\. `(\w+)`", _section("ledger.md", "### Order"), flags=re.MULTILINE)

    assert sorted(EntryKind, key=RANK.__getitem__) == written


def test_every_kind_of_entry_is_explained() -> None:
    """Each kind is found in the ledger's table, by its name or by that of its family."""
    cells = _first_cells(_section("ledger.md", "## Entries").partition("\n### ")[0])
    families = tuple(cell.rstrip("…") for cell in cells if cell.endswith("…"))

    assert [] == [kind for kind in EntryKind if kind not in cells and not kind.startswith(families)]


def test_every_action_of_the_audit_log_is_documented() -> None:
    """Each word that the audit log has for what operators do, and no other, has a row in the operator's page."""
    routes = {route.action for route in API if route.action}
    typed = re.compile(r'(?:of_the_command_line|_deed)\((?:runtime, )?"([a-z_.]+)"')
    verbs = {name for file in (ROOT / "worker" / "cli").glob("*.py") for name in typed.findall(file.read_text("utf-8"))}

    assert routes | verbs == _first_cells(_section("operations.md", "## Who did what"))
