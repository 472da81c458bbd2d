"""Import the modules named in `sys.argv[2:]` and tell, as JSON, everything they did beyond defining things.

Run by `test_imports.py` in a process of its own, isolated, with an empty environment: audit hooks cannot be taken
back (https://docs.python.org/3/library/sys.html#sys.addaudithook).
"""

import importlib
import json
import os
import signal
import sys
import threading

ROOT = sys.argv[1]
WORK = ("socket.", "subprocess.", "sqlite3.connect", "os.system", "os.exec", "os.fork", "os.posix_spawn", "os.mkdir")
WRITING = os.O_WRONLY | os.O_RDWR | os.O_CREAT
done: list[str] = []


class WorkAtImport(BaseException):
    """A module did at import what only a running program may do."""


def refuse(event: str, arguments: tuple[object, ...]) -> None:
    """Stop sockets, processes, databases, new folders and files opened for writing."""
    if event.startswith(WORK):
        raise WorkAtImport(event)
    if event == "open" and isinstance(arguments[2], int) and arguments[2] & WRITING:
        raise WorkAtImport(f"open {arguments[0]} for writing")


def refuse_thread(self: threading.Thread) -> None:
    """Stop every thread."""
    raise WorkAtImport(f"thread {self.name}")


def watch_environment() -> None:
    """Note every read of the environment that comes from our own code."""
    environment = type(os.environ)
    read = environment.__getitem__

    def watched(self: "os._Environ[str]", key: str) -> str:
        frame = sys._getframe(1)
        while frame.f_back and frame.f_code.co_filename.startswith("<frozen "):
            frame = frame.f_back
        if frame.f_code.co_filename.startswith(ROOT) and "site-packages" not in frame.f_code.co_filename:
            done.append(f"read ${key} in {frame.f_code.co_filename}")
        return read(self, key)

    environment.__getitem__ = watched  # type: ignore[method-assign]  # that is the watch


def import_all(names: list[str]) -> None:
    """Import each, and go on after one that failed, so that one run tells everything."""
    for name in names:
        try:
            importlib.import_module(name)
        except BaseException as error:  # noqa: BLE001 - whatever it is, it is the finding
            done.append(f"{name}: {type(error).__name__}: {error}")


def configured() -> list[str]:
    """List what libraries hold globally and only a running program may set."""
    logs, broker = sys.modules.get("structlog"), sys.modules.get("dramatiq.broker")
    found = {
        "structlog is configured": logs is not None and logs.is_configured(),
        "dramatiq has a global broker": broker is not None and broker.global_broker is not None,
    }
    return [what for what, is_so in found.items() if is_so]


handlers = {number: signal.getsignal(number) for number in signal.valid_signals()}
sys.path.insert(0, ROOT)
sys.dont_write_bytecode = True
sys.addaudithook(refuse)
threading.Thread.start = refuse_thread  # type: ignore[method-assign]  # no audit event before Python 3.12
watch_environment()
import_all(sys.argv[2:])
done += configured()
done += [f"thread {thread.name}" for thread in threading.enumerate() if thread is not threading.main_thread()]
done += [f"handles {number}" for number, handler in handlers.items() if signal.getsignal(number) is not handler]
json.dump(done, sys.stdout)
