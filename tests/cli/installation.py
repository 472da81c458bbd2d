"""An installation for verbs that work on what is stored: a configuration, a database of either kind, and its rows."""

import subprocess
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sqlalchemy import insert

from tests.cli.processes import clawback
from tests.handlers.entries import NOW_MS
from tests.worker.desk import Desk
from worker.store import tables

CONFIG = """
[apps.acme.stripe]
webhook_secrets = ["whsec_annual"]
[apps.acme.products."com.acme.pro.annual"]
entitlements = ["pro"]
"""


@dataclass
class Installation:
    """What a verb is pointed at, and a desk in it."""

    at: Desk
    directory: Path

    def __call__(
        self, *arguments: str, environment: Mapping[str, str] | None = None
    ) -> subprocess.CompletedProcess[str]:
        """Run a verb on it to its end."""
        file = self.directory / "clawback.toml"
        if not file.exists():
            file.write_text(CONFIG)
        here = ("--config", str(file), "--data-dir", str(self.directory / "data"))
        environment = {"CLAWBACK_STORE__URL": self.at.store.url, **(environment or {})}
        return clawback(*arguments, *here, environment=environment)

    def put(self, name: str, **said: Any) -> str:
        """Have a notification in the inbox; give its id."""
        made = {
            "id": f"ntf_{name}",
            "app": "acme",
            "platform": "stripe",
            "environment": "production",
            "scope": "",
            "notification_id": f"evt_{name}",
            "type": "refund.created",
            "subtype": "",
            "occurred_at_ms": NOW_MS,
            "received_at_ms": NOW_MS,
            "body": b"{}",
            "headers": "{}",
            "status": "dead",
            "attempts": 8,
            "retry_at_ms": NOW_MS,
            "finished_at_ms": NOW_MS,
            **said,
        }
        with self.at.store.write() as connection:
            connection.execute(insert(tables.notifications).values(made))
        return f"ntf_{name}"

    def statuses(self) -> dict[str, str]:
        """Give the status of every notification by its id."""
        return {row["id"]: row["status"] for row in self.at.rows(tables.notifications)}
