"""Settings of what is seen of a pool, and how it is told: endpoints, commands, logs."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from executor_worker.settings import kinds
from executor_worker.settings.control import FILE
from executor_worker.settings.kinds import Shown
from executor_worker.settings.parts.part import Part, Text


class ObservingFields(Part):
    """The part of `Settings` for those who look after a pool."""

    health_host: Text = Field("0.0.0.0", description="Address the HTTP endpoints listen on")
    health_port: Annotated[int | None, kinds.or_none(kinds.whole(0, 65535, 8081))] = Field(
        8081, description="Their port; 0 = any free one, logged; empty = none"
    )
    health_token: Annotated[str, kinds.token()] = Field(
        "",
        description="Who asks for `/workers`, `/status` or `/metrics` has to bring it as a bearer token;"
        " empty: the first two answer this machine only",
        repr=False,
    )
    ctl_socket: Annotated[
        str,
        kinds.text("a path, or @ and a name, of at most 107 bytes", "/run/executor-worker/ctl.sock", r"[^\0]{1,107}"),
        Shown(f"`{FILE}` in systemd's runtime directory, else a name made of `WORKER_ID`"),
    ] = Field("", description="Unix socket on which `executor-worker ctl` reaches the pool; `@name` leaves no file")
    log_level: Annotated[str, kinds.choice("debug", "info", "warn", "error", warning="warn")] = Field(
        "info", description="`debug`, `info`, `warn` or `error`"
    )
    log_format: Annotated[str, kinds.choice("json", "text"), Shown("json; text on a terminal")] = Field(
        "", description="`json` or `text`"
    )
    log_file: Annotated[Text, Shown("stderr")] = Field(
        "", description="Path of the log file, `{date}` in it is the day (UTC); its folder is made, SIGUSR1 reopens it"
    )
