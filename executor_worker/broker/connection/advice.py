"""Advice for the operator when Redis answers but refuses us: which setting is wrong."""

from __future__ import annotations

from executor_worker.errors import ConfigError, StreamError, StreamRefused


def as_config_error(error: StreamRefused) -> ConfigError | None:
    """Name the setting to correct; None if it is none of ours."""
    said = str(error).removesuffix(" Are you sure your configuration is correct?").rstrip(".")
    if "without any password configured" in said:
        fix = "This Redis knows no password for this user: leave REDIS_PASS out, or set REDIS_USER to one that has it."
        return ConfigError("REDIS_PASS", f"{said}.", fix)
    if any(mark in said for mark in ("NOAUTH", "WRONGPASS")):
        fix = "Set REDIS_PASS or REDIS_PASS_FILE, and REDIS_USER where it has users, to what this Redis knows."
        return ConfigError("REDIS_PASS", f"{said}.", fix)
    if "NOPERM" in said:
        fix = "Let an administrator grant it; `executor-worker check` names all that is missing."
        return ConfigError("REDIS_USER", f"{said}.", fix)
    if "DB index is out of range" in said:
        fix = "Set it, or the one in REDIS_ADDR, to a database that this Redis has: most have 0 to 15, some only 0."
        return ConfigError("REDIS_DB", f"{said}.", fix)
    if "certificate" in said or "TLS" in said:
        fix = "Name the authority that signed it, as in REDIS_ADDR=rediss://host:6380?ssl_ca_certs=/path/ca.pem."
        return ConfigError("REDIS_ADDR", f"{said}.", fix)
    return None


def advice_of(error: StreamError, otherwise: str) -> dict[str, str]:
    """Say as a log line's fields why Redis refuses, which setting is wrong and what to do, else *otherwise*."""
    wrong = as_config_error(error) if isinstance(error, StreamRefused) else None
    if wrong is None:
        return {"reason": str(error), "fix": otherwise}
    return {"setting": wrong.variable, "reason": wrong.problem, "fix": wrong.fix}
