"""Variables that look like ours and are not: most often a slip of the keyboard, silently ignored otherwise."""

from __future__ import annotations

import difflib
import re
from collections.abc import Collection, Mapping

from executor_worker.settings.sources import place_in

# No other program's variables begin so: whatever does and is unknown gets a warning.
_OURS = (
    "WORKER_",
    "WORKERS_",
    "LLM_",
    "REDIS_",
    "MCP_",
    "TOOL_",
    "TOOLS_",
    "API_TOOLS_",
    "DRAIN_",
    "RESULTS_",
    "HEALTH_",
    "CTL_",
)
# Others use these prefixes too: only what is close to one of ours gets one.
_SHARED = ("MAX_", "NODE_", "STATE_", "DELETE_", "FAILURES_", "LOG_", "HTTP_", "API_", "LEASE", "ENV_")
_CLOSE = 0.75
_VERY_CLOSE = 0.85
# Set by Node.js, Kubernetes (`<SERVICE>_PORT_6379_TCP_ADDR` and the like for a service named redis) and others.
_FOREIGN = re.compile(
    r"NODE_(ENV|OPTIONS|PATH|VERSION|NAME|IP|EXTRA_CA_CERTS|TLS_REJECT_UNAUTHORIZED)"
    r"|[A-Z0-9_]+_SERVICE_(HOST|PORT)(_[A-Z0-9_]+)?|[A-Z0-9_]+_PORT(_\d+_(TCP|UDP)(_(PROTO|PORT|ADDR))?)?"
    r"|OTEL_[A-Z0-9_]+"  # the SDK of OpenTelemetry reads more of them than we do
    r"|REDIS_(VERSION|DOWNLOAD_URL|DOWNLOAD_SHA)|HTTPS?_PROXY"
)
# Where the nearest by spelling is not the one that was meant.
_MEANT = {
    "REDIS_URL": "REDIS_ADDR",
    "REDIS_HOST": "REDIS_ADDR",
    "REDIS_PORT": "REDIS_ADDR",
    "REDIS_PASSWORD": "REDIS_PASS",
    "REDIS_USERNAME": "REDIS_USER",
    "REDIS_DATABASE": "REDIS_DB",
    "LLM_KEY": "LLM_API_KEY",
    "LLM_URL": "LLM_BASE_URL",
    "WORKER_COUNT": "WORKERS",
    "WORKER_NAME": "WORKER_ID",
}


# The original programs' own: an operator who moves here may have them set.
_SAYS_IT_HERE = {"TIMEOUT_SHUTDOWN": "DRAIN_TIMEOUT"}
OF_THE_ORIGINAL = (
    *("REDIS_POOL_SIZE", "REDIS_MIN_IDLE_CONNS", "REDIS_MAX_RETRIES"),
    *("REDIS_DIAL_TIMEOUT", "REDIS_READ_TIMEOUT", "REDIS_WRITE_TIMEOUT", "TIMEOUT_SHUTDOWN"),
    *("STREAM_KEY", "CONSUMER_GROUP", "RESULT_STREAM", "BLOCK_TIME", "MAX_RETRIES", "CEL_ENABLED"),
    *("PLANNER_SERVER_HOST", "PLANNER_SERVER_PORT", "PLANNER_MAX_ITERATIONS", "PLANNER_MAX_NODES"),
    *("PLANNER_PROMPT_PATH", "PLANNER_LOG_LEVEL", "PLANNER_LOG_FORMAT", "PLANNER_LLM_PROVIDER", "PLANNER_LLM_API_KEY"),
    *("PLANNER_LLM_MODEL", "PLANNER_LLM_MAX_TOKENS", "PLANNER_LLM_TEMPERATURE"),
)


def without_effect(environ: Mapping[str, str], file: Mapping[str, str]) -> tuple[str, ...]:
    """Say in one sentence which of the original programs' variables are set; nothing if none is."""
    found = [name for name in OF_THE_ORIGINAL if environ.get(name) or file.get(name)]
    if not found:
        return ()
    said = "has no effect here: it is a variable" if len(found) == 1 else "have no effect here: they are variables"
    instead = [f"; for {name} set {here}" for name, here in _SAYS_IT_HERE.items() if name in found]
    return (f"{', '.join(found)} {said} of the original program{''.join(instead)}.",)


def misspelt(names: Collection[str], environ: Mapping[str, str], file: Mapping[str, str]) -> list[str]:
    """
    Say which variables were probably meant to be ours.

    Args:
        names: All that are ours, aliases included.
        file: The settings file's own: there, every name is meant for us.
    """
    found = []
    for name in sorted({*environ, *file} - {*names, *OF_THE_ORIGINAL}):
        meant = _meant(name, names, in_file=name in file)
        if meant:
            where = place_in(file, name)
            found.append(f"{name} in {where} is not a setting and is ignored; did you mean {meant}?")
    return found


def _meant(name: str, names: Collection[str], *, in_file: bool) -> str:
    if name in _MEANT and not (name == "REDIS_PORT" and not in_file):  # Kubernetes sets that one too
        return _MEANT[name]
    if _FOREIGN.fullmatch(name) and not in_file:
        return ""
    if name.startswith(_OURS):
        cutoff = 0.0
    elif name.startswith(_SHARED):
        cutoff = _CLOSE
    else:
        cutoff = _VERY_CLOSE
    return next(iter(difflib.get_close_matches(name, sorted(names), n=1, cutoff=cutoff)), "")
