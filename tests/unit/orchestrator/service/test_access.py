"""Who may do what: tokens, tickets, rates."""

from __future__ import annotations

import pytest

from orchestrator.errors import Forbidden, RateLimited, Unauthorized
from orchestrator.service.access import MOST_KNOWN, TICKET_S, Access
from orchestrator.settings import Token

TOKENS = (Token("eye", "read", "aaa"), Token("ci", "submit", "b:b"), Token("op", "operate", "ccc"))


class Clock:
    """A clock that is set by hand."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


def test_a_known_token_is_who_it_belongs_to() -> None:
    """Whatever the scheme's case; a secret may hold colons."""
    access = Access(TOKENS)
    assert access.admit("Bearer aaa").name == "eye"
    assert access.admit("bearer b:b").role == "submit"


@pytest.mark.parametrize("header", ["", "aaa", "Basic aaa", "Bearer", "Bearer aab", "Bearer aaa,ccc", "Bearer \udcff"])
def test_whoever_is_not_known_is_refused(header: str) -> None:
    """No token, another scheme, nearly one."""
    with pytest.raises(Unauthorized):
        Access(TOKENS).admit(header)


def test_without_tokens_everybody_may_do_everything() -> None:
    """As on a machine of one's own."""
    Access(()).admit("").require("operate")


@pytest.mark.parametrize(
    ("secret", "allowed"), [("aaa", ["read"]), ("b:b", ["read", "submit"]), ("ccc", ["read", "submit", "operate"])]
)
def test_a_role_includes_the_lesser_ones(secret: str, allowed: list[str]) -> None:
    """And no greater."""
    caller = Access(TOKENS).admit(f"Bearer {secret}")
    for role in ("read", "submit", "operate"):
        if role in allowed:
            caller.require(role)
        else:
            with pytest.raises(Forbidden, match=role):
                caller.require(role)


def test_a_ticket_reads_for_a_minute() -> None:
    """Under its holder's name, in every process that has the same tokens."""
    clock = Clock()
    access, other = Access(TOKENS, wall=clock), Access(TOKENS, wall=clock)
    ticket = access.ticket(access.admit("Bearer ccc"))
    found = other.admit("", ticket)
    assert (found.name, found.role) == ("op", "read")
    clock.now += TICKET_S + 1
    with pytest.raises(Unauthorized):
        other.admit("", ticket)


def test_a_ticket_can_not_be_made_up() -> None:
    """Not by changing one, nor with other tokens, nor out of nothing."""
    access = Access(TOKENS)
    ticket = access.ticket(access.admit("Bearer ccc"))
    other = "B" if ticket.startswith("A") else "A"
    for wrong in (ticket[:-2] + "AA", other + ticket[1:], "x", "é", "=" * 50, ""):
        with pytest.raises(Unauthorized):
            access.admit("", wrong)
    with pytest.raises(Unauthorized):
        Access(TOKENS[:1]).admit("", ticket)


def test_a_rate_is_kept_by_each_for_itself() -> None:
    """A second's worth at once, then as it comes back; how long to wait is said."""
    clock = Clock()
    access = Access((), rate=2, clock=clock)
    for _ in range(2):
        access.spend("a")
    with pytest.raises(RateLimited) as refused:
        access.spend("a")
    assert refused.value.headers["Retry-After"] == "1"
    access.spend("b")
    clock.now += 0.5
    access.spend("a")
    with pytest.raises(RateLimited):
        access.spend("a")


def test_wrong_tokens_are_counted_by_address() -> None:
    """Who guesses is told to wait; whoever has a token goes on, from there too."""
    access = Access(TOKENS, rate=2, clock=Clock())
    for _ in range(2):
        with pytest.raises(Unauthorized):
            access.enter("10.0.0.1", "Bearer guessed")
    with pytest.raises(RateLimited):
        access.enter("10.0.0.1", "Bearer guessed again")
    assert access.enter("10.0.0.1", "Bearer aaa").name == "eye"
    with pytest.raises(Unauthorized):
        access.enter("10.0.0.2", "Bearer guessed")


def test_rates_below_one_a_second_allow_one() -> None:
    """As a share of several processes may be."""
    clock = Clock()
    access = Access((), rate=0.5, clock=clock)
    access.spend("a")
    with pytest.raises(RateLimited) as refused:
        access.spend("a")
    assert refused.value.headers["Retry-After"] == "2"


def test_many_addresses_take_bounded_memory() -> None:
    """Those that have been quiet are forgotten."""
    clock = Clock()
    access = Access((), rate=5, clock=clock)
    for number in range(2 * MOST_KNOWN):
        access.spend(str(number))
        clock.now += 0.001
    assert len(access._allowances) <= MOST_KNOWN
