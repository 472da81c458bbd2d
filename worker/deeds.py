"""Deeds: what operators do, each with a row in the audit log, in the transaction of what is done where there is one."""

import getpass
import secrets
import socket
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from sqlalchemy import Connection

from handlers import ids as identify
from schemas.audit import Outcome
from worker.store import audit

TARGET_CHARACTERS_MAX: Final = 512


@dataclass(slots=True)
class Deed:
    """Something that an operator is doing.

    Attributes:
        operator: the name of the token that was shown, or `cli:user@host`.
        action: what, as `subscriber.create`.
        token: the id of the token, if it has one.
        address: where it was asked from.
        noted: whether the row of its success was written; where that is rolled back, no success was.
    """

    operator: str
    action: str
    clock: Callable[[], float] = field(repr=False)
    token: str | None = None
    address: str | None = None
    noted: bool = False

    def note(self, connection: Connection, target: str | None = None, /, **detail: Any) -> None:
        """Write down that it is done, in the transaction that does it.

        Args:
            connection: the one that does it.
            target: the id of what it is done to.
            detail: names of fields, numbers, filters; never a value that could be a secret, a body or a person.
        """
        self._write(connection, target, "done", None, detail)
        self.noted = True

    def note_each(self, connection: Connection, targets: Sequence[str]) -> None:
        """Write down that it is done to several: the one by its id, of more how many."""
        if len(targets) == 1:
            self.note(connection, targets[0])
        else:
            self.note(connection, None, count=len(targets))

    def fail(self, connection: Connection, target: str | None, outcome: Outcome, reason: str) -> None:
        """Write down that nothing was done, and why."""
        self._write(connection, target, outcome, reason, {})

    def _write(
        self, connection: Connection, target: str | None, outcome: Outcome, reason: str | None, detail: dict[str, Any]
    ) -> None:
        values = {
            "id": identify.make("aud", secrets.token_hex(16)),
            "at_ms": int(self.clock() * 1000),
            "operator": self.operator,
            "token": self.token,
            "address": self.address,
            "action": self.action,
            "target": _storable(target),
            "outcome": outcome,
            "reason": reason,
            "detail": detail,
        }
        audit.add_record(connection, values)


def of_the_command_line(action: str, clock: Callable[[], float]) -> Deed:
    """Begin a deed of whoever typed a command. Who that is, this machine says: https://docs.python.org/3/library/getpass."""
    try:
        user = getpass.getuser()
    except (OSError, KeyError):  # a container's user has a number, and no name
        user = "unknown"
    return Deed(f"cli:{user}@{socket.gethostname()}", action, clock)


def _storable(target: str | None) -> str | None:
    """Leave out what no id of ours could be, and some databases could not store."""
    return target if target and target.isprintable() and len(target) <= TARGET_CHARACTERS_MAX else None
