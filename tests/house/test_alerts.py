"""Alerts fire when they should, are explained, and ask for metrics that there are."""

import re
import subprocess
from pathlib import Path

import pytest

from tests.house.test_reference import metric_names
from tests.house.tree import ROOT
from tests.prometheus import program

PROMETHEUS = ROOT / "deploy" / "prometheus"
RULES = (PROMETHEUS / "clawback.rules.yml").read_text("utf-8")
ALERTS = dict(re.findall(r"- alert: (\w+)\n(.*?)(?=\n +- |\Z)", RULES, flags=re.DOTALL))
ROW = re.compile(r"^\| `(Clawback\w+)` \| (\w+) \| .* \| \[.+\]\(#(.+)\) \|$", flags=re.MULTILINE)
OPERATIONS = (ROOT / "docs" / "operations.md").read_text("utf-8")
SUFFIX = re.compile(r"_(?:bucket|sum|count)$")


@pytest.mark.timeout(240)  # five seconds of a processor that may be busy
def test_rules_do_what_their_tests_say() -> None:
    """Prometheus' own checker loads the rules and the configuration, and finds each alert firing when it should."""
    promtool = program("promtool")
    for arguments in (["test", "rules", "clawback.test.yml"], ["check", "config", "prometheus.yml"]):
        done = subprocess.run(
            [promtool, *arguments], cwd=PROMETHEUS, capture_output=True, text=True, timeout=100, check=False
        )
        assert 0 == done.returncode, done.stdout + done.stderr


@pytest.mark.parametrize("alert", ALERTS)
def test_an_alert_can_be_acted_on(alert: str) -> None:
    """Each has a severity, says what is wrong, links to the section that says what to do, and is tested."""
    rule = ALERTS[alert]
    (severity,) = re.findall(r"severity: (\w+)", rule)
    (runbook,) = re.findall(r"runbook: docs/operations\.md#(\S+)", rule)

    assert severity in ("critical", "warning")
    assert re.search(r'summary: "\S', rule)
    assert (severity, runbook) == {name: (row, link) for name, row, link in ROW.findall(OPERATIONS)}[alert]
    headings = re.findall(r"^### (.+)$", OPERATIONS, flags=re.MULTILINE)
    assert runbook in {heading.lower().replace(" ", "-") for heading in headings}
    assert f'alertname="{alert}"' in (PROMETHEUS / "clawback.test.yml").read_text("utf-8")


def test_the_list_of_alerts_is_complete() -> None:
    """What the operator's page lists is what there is, in the same order."""
    assert list(ALERTS) == [name for name, *_ in ROW.findall(OPERATIONS)]


@pytest.mark.parametrize("file", sorted([*PROMETHEUS.glob("*.yml"), *(ROOT / "deploy" / "grafana").rglob("*.json")]))
def test_only_metrics_that_there_are_are_asked_for(file: Path) -> None:
    """No rule and no panel asks for a metric that nobody exports."""
    asked = {SUFFIX.sub("", name) for name in re.findall(r"(?<![:\w])clawback_\w+", file.read_text("utf-8"))}

    assert set() == asked - metric_names()
