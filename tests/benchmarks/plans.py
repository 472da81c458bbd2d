"""What PostgreSQL really does with each statement: plans that auto_explain writes into the server's log, read back.

The plan that was run, and not one that was asked for afterwards: a prepared statement may have another.
"""

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from statistics import mean
from typing import Any

OPTIONS = (
    "-c session_preload_libraries=auto_explain -c auto_explain.log_min_duration=0 -c auto_explain.log_format=json "
    "-c auto_explain.log_analyze=on -c auto_explain.log_timing=off -c auto_explain.log_nested_statements=off "
    "-c auto_explain.log_buffers=on -c auto_explain.log_wal=on"
)
"""For a connection of a superuser; https://www.postgresql.org/docs/current/auto-explain.html."""
PLAN = re.compile(r"plan:\s*\{")
MANY = re.compile(r"""(\$\d+(?:::\w+(?:\ COLLATE\ "C")?)?)(?:,\ \$\d+(?:::\w+(?:\ COLLATE\ "C")?)?)+""", re.VERBOSE)
"""A list of parameters, which is as long as what was asked for."""


@dataclass(frozen=True)
class Plan:
    """How one statement was run.

    Attributes:
        scans: table or index → rows read from it, with how.
        whole: the tables that were read from end to end.
        pages: how many it looked at, its indexes' too: the mean of all the times that the statement was run.
        images: how many of them it logged whole, as they changed for the first time after a checkpoint; likewise.
    """

    statement: str
    scans: tuple[str, ...]
    whole: tuple[str, ...]
    pages: float = 0
    images: float = 0

    def __str__(self) -> str:
        return f"{self.statement}\n    {'; '.join(self.scans) or 'reads no table'}"


def read_log(log: Path, offset: int) -> list[Plan]:
    """Read every plan that was logged since, each statement and way of running it once."""
    with log.open("rb") as file:
        file.seek(offset)
        text = file.read().decode("utf-8", errors="replace")
    decoder = json.JSONDecoder(strict=False)
    found: dict[tuple[str, tuple[str, ...]], Plan] = {}
    runs: dict[str, list[Plan]] = {}
    for match in PLAN.finditer(text):
        document, _ = decoder.raw_decode(text, match.end() - 1)
        plan = read_plan(document)
        found.setdefault((plan.statement, plan.scans), plan)
        runs.setdefault(plan.statement, []).append(plan)
    return [_mean(plan, runs[plan.statement]) for plan in found.values()]


def _mean(plan: Plan, runs: Sequence[Plan]) -> Plan:
    return replace(plan, pages=mean(run.pages for run in runs), images=mean(run.images for run in runs))


def read_plan(document: Mapping[str, Any]) -> Plan:
    """Read one plan as auto_explain writes it."""
    nodes = [node for node in _nodes(document["Plan"]) if "Scan" in node["Node Type"]]
    tables = [node for node in nodes if "Relation Name" in node]
    return Plan(
        statement=MANY.sub(r"\1, …", " ".join(document["Query Text"].split())),
        scans=tuple(dict.fromkeys(_said(node) for node in nodes if "Relation Name" in node or "Index Name" in node)),
        whole=tuple(dict.fromkeys(node["Relation Name"] for node in tables if node["Node Type"] == "Seq Scan")),
        pages=sum(document["Plan"].get(f"Shared {kind} Blocks", 0) for kind in ("Hit", "Read")),
        images=document["Plan"].get("WAL FPI", 0),
    )


def _said(node: Mapping[str, Any]) -> str:
    where = node.get("Index Name") or node.get("Relation Name")
    return f"{node['Node Type']} {where}"


def _nodes(node: Mapping[str, Any]) -> Iterator[Mapping[str, Any]]:
    yield node
    for child in node.get("Plans", ()):
        yield from _nodes(child)
