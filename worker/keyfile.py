"""Keep an encryption key in a file of the data directory, for installations whose database is there too.

It is as safe as the directory, and no safer: whoever wants it elsewhere sets [store] encryption_keys. What was sealed
with it opens for as long as the file is there.
"""

import base64
import os
import secrets
from pathlib import Path

from config.check import ENCRYPTION_KEY
from config.problems import ConfigError
from config.settings import Settings
from worker.room import written

KEY_FILE = "encryption.key"


def with_key_file(settings: Settings, data_dir: Path) -> Settings:
    """Add the key of the file to those of the configuration, behind them; without a file, nothing.

    Raises:
        ConfigError: there is a file, and no key in it.
    """
    file = data_dir / KEY_FILE
    try:
        key = file.read_text("ascii").strip()
    except FileNotFoundError:
        return settings
    except OSError as error:
        raise ConfigError([f"{file}: cannot be read: {error.strerror}"]) from None
    except UnicodeDecodeError:
        key = ""
    if not ENCRYPTION_KEY.fullmatch(key):
        raise ConfigError([f"{file}: is no Fernet key: restore it, or delete it and rotate the subscribers' secrets"])
    keys = (*settings.store.encryption_keys, key)
    return settings.model_copy(update={"store": settings.store.model_copy(update={"encryption_keys": keys})})


def make_key_file(settings: Settings, data_dir: Path) -> Settings:
    """Make a key, readable by nobody else, unless there is one already or the database is on another machine.

    Raises:
        NotWritten: the disk is full, or may only be read.
    """
    if settings.store.encryption_keys or not settings.store.url.startswith("sqlite:"):
        return settings
    fresh = data_dir / f"{KEY_FILE}.new"
    # Whole or not at all: a file that a crash left empty would be no key.
    with written(data_dir / KEY_FILE):
        _write_key(fresh)
        fresh.rename(data_dir / KEY_FILE)
    return with_key_file(settings, data_dir)


def _write_key(fresh: Path) -> None:
    fresh.unlink(missing_ok=True)
    with os.fdopen(os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:
        file.write(base64.urlsafe_b64encode(secrets.token_bytes(32)) + b"\n")
        file.flush()
        os.fsync(file.fileno())
