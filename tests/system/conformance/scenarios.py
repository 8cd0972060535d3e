"""Which scenarios of the suite we are held to, and which we are not, with the reason."""

from __future__ import annotations

REVISIONS = ("2025-11-25", "2026-07-28")

# The scenario's name, or what a family's names begin with.
EXCEPTIONS = {
    "auth/": (
        "MCP's authorization is optional and its flow needs a person at a browser, which a worker has not: "
        "tokens are given as `headers` in MCP_CONFIG"
    ),
    "elicitation-sep1034-client-defaults": (
        "asks for a person's input; nobody is there, and defaults are not taken for consent: "
        "we declare no `elicitation`, the call fails and says so"
    ),
    "sep-2322-client-request-state": (
        "three of its five checks ask for a person's confirmation and then look at the request that follows it, "
        "which does not come; the other two pass"
    ),
}


def exception_of(scenario: str) -> str:
    """Why *scenario* need not pass; empty if it must."""
    return next((reason for name, reason in EXCEPTIONS.items() if scenario == name or is_family(scenario, name)), "")


def is_family(scenario: str, name: str) -> bool:
    return name.endswith("/") and scenario.startswith(name)
