"""Access: tokens with roles, tickets for what can send no header, and how often a client may ask."""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import math
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from orchestrator.errors import Forbidden, RateLimited, Unauthorized
from orchestrator.settings import Token

RANK = {"read": 1, "submit": 2, "operate": 3}
TICKET_S = 60
MOST_KNOWN = 10_000  # callers whose rate is kept


@dataclass(frozen=True, slots=True)
class Caller:
    """
    Attributes:
        name: Of the token; "": no token is asked for.
    """

    name: str
    role: str

    def require(self, role: str) -> None:
        """
        Raises:
            Forbidden: This caller's role is a lesser one.
        """
        if RANK[self.role] < RANK[role]:
            raise Forbidden(f"the token {self.name!r} has the role {self.role!r}; this takes {role!r}")


ANYBODY = Caller("", "operate")


class Access:
    """
    Args:
        tokens: Those that are known; none: every client may do everything.
        rate: Requests a second of one token, or of one address without a known one; 0: no limit.
    """

    ticket_s = TICKET_S

    def __init__(
        self,
        tokens: Sequence[Token],
        rate: float = 0.0,
        clock: Callable[[], float] = time.monotonic,
        wall: Callable[[], float] = time.time,
    ) -> None:
        self._known = [(_digest(token.secret), Caller(token.name, token.role)) for token in tokens]
        # The same in every process that has these tokens, and gone with them.
        self._key = hashlib.sha256(b"ticket".join(digest for digest, _ in self._known)).digest()
        self._rate = rate
        self._clock = clock
        self._wall = wall
        self._allowances: dict[str, tuple[float, float]] = {}

    def admit(self, authorization: str, ticket: str = "") -> Caller:
        """
        Find out who calls.

        Args:
            authorization: The header, or gRPC's metadata: `Bearer <token>`.
            ticket: From `ticket`, for browsers' EventSource and WebSocket.

        Raises:
            Unauthorized: No token we know.
        """
        if not self._known:
            return ANYBODY
        scheme, _, secret = authorization.partition(" ")
        if scheme.lower() == "bearer":
            found = self._find(_digest(secret.strip()))
        else:
            found = self._holder(ticket) if ticket else None
        if found is None:
            raise Unauthorized("this takes a token that is known here, as `Authorization: Bearer <token>`")
        return found

    def enter(self, address: str, authorization: str, ticket: str = "") -> Caller:
        """
        Find out who calls from *address*, and count it: by the token's name, or by the address of who has none.

        Raises:
            Unauthorized: No token we know.
            RateLimited: It came too soon, with a wrong token too; with the right one nobody waits for others' guesses.
        """
        try:
            caller = self.admit(authorization, ticket)
        except Unauthorized:
            self.spend(address)
            raise
        self.spend(caller.name or address)
        return caller

    def ticket(self, caller: Caller) -> str:
        """Make a ticket with which *caller* may read for a minute."""
        until = int(self._wall()) + TICKET_S
        claim = f"{caller.name}:{until}".encode()
        return base64.urlsafe_b64encode(self._sign(claim) + claim).decode().rstrip("=")

    def spend(self, who: str) -> None:
        """
        Count one request of *who*, a token's name or an address.

        Raises:
            RateLimited: It was one too many; a second's worth may come at once.
        """
        if not self._rate:
            return
        now = self._clock()
        most = max(self._rate, 1.0)
        left, at = self._allowances.get(who, (most, now))
        left = min(left + (now - at) * self._rate, most)
        if left < 1:
            wait_s = math.ceil((1 - left) / self._rate)
            raise RateLimited(f"more than {self._rate:g} requests a second; wait {wait_s} s", wait_s)
        if len(self._allowances) >= MOST_KNOWN and who not in self._allowances:
            self._forget(now)
        self._allowances[who] = (left - 1, now)

    def _forget(self, now: float) -> None:
        """Drop those who have been quiet for long enough to have all their allowance again."""
        full_s = max(self._rate, 1.0) / self._rate
        kept = {who: (left, at) for who, (left, at) in self._allowances.items() if now - at < full_s}
        self._allowances = kept if len(kept) < MOST_KNOWN else {}

    def _find(self, digest: bytes) -> Caller | None:
        """Compare with every token, however early one fits: how long it takes tells nothing."""
        found = None
        for known, caller in self._known:
            if hmac.compare_digest(known, digest):
                found = caller
        return found

    def _holder(self, ticket: str) -> Caller | None:
        try:
            raw = base64.urlsafe_b64decode(ticket + "=" * (-len(ticket) % 4))
            name, _, until = raw[32:].decode().rpartition(":")
        except (binascii.Error, ValueError):
            return None
        genuine = hmac.compare_digest(raw[:32], self._sign(raw[32:]))
        return Caller(name, "read") if genuine and self._wall() <= int(until) else None

    def _sign(self, claim: bytes) -> bytes:
        return hmac.digest(self._key, claim, "sha256")


def _digest(secret: str) -> bytes:
    return hashlib.sha256(secret.encode("utf-8", "surrogateescape")).digest()
