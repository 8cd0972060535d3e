"""Sources of work: where a kind's items come from, and what Redis does in the step that takes one."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from math import lcm
from typing import TypeVar

from executor_worker.broker.connection.script import LuaText, Made, Part, Script, script
from executor_worker.broker.names import GROUP
from executor_worker.broker.queue.gates import GATES

T = TypeVar("T")


@dataclass(frozen=True, slots=True, eq=False)  # looked up with every item, by itself
class SettleScript:
    """
    The script that settles items of a kind, in the same step takes the next one.

    Attributes:
        parts: What it needs of `lua/lib`, besides what taking needs.
    """

    name: Part
    parts: tuple[Part, ...] = ()


@dataclass(frozen=True, slots=True)
class Source:
    """
    The source of one kind of work.

    Attributes:
        kind: Its name, which its part of the library registers; see lib/kinds.lua.
        streams: Read in turns by the consumer group; a stream may hold items of several kinds.
        ranked: Streams in order of preference: a rank is asked only when those before it have nothing, its own streams
            in turns. All ranks together take one turn beside each of `streams`.
        lua: Parts that register the kind, after those that they need.
        settling: Its settle scripts.
        urgent: Streams that are asked before all others.
        polled_s: Something else than a stream feeds it: idle workers look so often. None: streams alone do.
        group: Reads its streams.
        start: After which id a group begins that was never there: "0", or "$" for what comes from then on.
    """

    kind: str
    streams: tuple[str, ...]
    lua: tuple[Part, ...]
    settling: tuple[SettleScript, ...]
    urgent: tuple[str, ...] = ()
    polled_s: float | None = None
    ranked: tuple[tuple[str, ...], ...] = ()
    group: str = GROUP
    start: str = "0"


@dataclass(frozen=True, slots=True)
class PlaceLimits:
    """
    The limit of items run at once, on all hosts.

    Attributes:
        most: By the limit's name.
        lease_s: A place is worth as much as its item's lease.
        of_nodes: There are some that nodes name in their configs.
    """

    most: Mapping[str, int] = field(default_factory=dict)
    lease_s: float = 60.0
    of_nodes: bool = False

    def parts(self) -> tuple[Part, ...]:
        """Tell scripts, behind the part `limits`, how many items may be run at once."""
        if not self.most:
            return ()
        lines = [f"limit_max[{quoted(name)}] = {most}" for name, most in self.most.items()]
        lines += [
            "limits_kept = true",
            f"node_limits_kept = {str(self.of_nodes).lower()}",
            f"place_lease_ms = {int(self.lease_s * 1000)}",
        ]
        return (LuaText("kept-limits", "\n".join(lines)), "unopened")


class Groups:
    """
    The group that reads each stream: ours, unless a stream is another system's and has its own.

    Args:
        named: Groups of such streams.
        starts: Where such a group begins; see `Source`.
    """

    def __init__(self, named: Mapping[str, str] | None = None, starts: Mapping[str, str] | None = None) -> None:
        self.named = dict(named or {})
        self._starts = dict(starts or {})

    def of(self, stream: str) -> str:
        return self.named.get(stream, GROUP)

    def start(self, stream: str) -> str:
        return self._starts.get(stream, "0")

    def apart(self, streams: Iterable[str]) -> dict[str, tuple[str, ...]]:
        """The *streams* of each group."""
        found: dict[str, tuple[str, ...]] = {}
        for stream in streams:
            group = self.of(stream)
            found[group] = (*found.get(group, ()), stream)
        return found


OURS = Groups()
UNLIMITED = PlaceLimits()


_HANDING: tuple[Part, ...] = ("constants", "types", "standing", *GATES, "groups", "progress", "kinds")
_TAKING: tuple[Part, ...] = ("taking", Made("letting_in", "waits"))


class _Settling(dict[SettleScript, Script]):
    """Scripts, put together when they are asked for first."""

    def __init__(self, make: Callable[[SettleScript], Script]) -> None:
        self._make = make

    def __missing__(self, settle: SettleScript) -> Script:
        made = self[settle] = self._make(settle)
        return made


class Sources:
    """
    All that a pool takes work from; if several kinds would read an entry the first has it.

    Attributes:
        urgent: Streams that are asked first, in this order.
        ranked: Those in order of preference, a rank after the other.
        in_turns: The others.
        polled_s: See `Source`.
        groups: By which each stream is read.
        settling: The scripts that settle items of one kind and take the next of any.
    """

    def __init__(self, *sources: Source, limits: PlaceLimits = UNLIMITED) -> None:
        self._sources = sources
        self._limits = limits
        self.urgent = _each(stream for source in sources for stream in source.urgent)
        self.ranked = _each(rank for source in sources for rank in source.ranked)
        first = {*self.urgent, *(stream for rank in self.ranked for stream in rank)}
        self.in_turns = _each(stream for source in sources for stream in source.streams if stream not in first)
        polls = [source.polled_s for source in sources if source.polled_s is not None]
        self.polled_s = min(polls) if polls else None
        foreign = [(stream, source) for source in sources if source.group != GROUP for stream in source.streams]
        self.groups = Groups(
            {stream: source.group for stream, source in foreign}, {stream: source.start for stream, source in foreign}
        )
        self.settling = _Settling(self._settle_script)

    @property
    def streams(self) -> tuple[str, ...]:
        return _each((*self.urgent, *(stream for rank in self.ranked for stream in rank), *self.in_turns))

    def orders(self) -> list[tuple[str, ...]]:
        """List the orders in which streams are asked, one after the other: of equals another is the first each time."""
        lanes = [*filter(None, [self.ranked]), *(((stream,),) for stream in self.in_turns)]
        rounds = range(lcm(*(len(rank) for rank in self.ranked)))
        turns = range(max(len(lanes), 1))
        return [(*self.urgent, *_in_order(_turned(lanes, turn), number)) for number in rounds for turn in turns]

    def taking(self, name: str) -> Script:
        """Put together a script that takes an entry: take, or confirm and reopen, which are told which."""
        return script(name, *self._parts(*(_TAKING if name == "take" else ())))

    def _settle_script(self, settle: SettleScript) -> Script:
        return script(settle.name, *self._parts(*_TAKING, "settling", *settle.parts), flags="")

    def load(self) -> None:
        """Read all scripts from their files, best before workers are forked."""
        for name in ("take", "confirm", "reopen"):
            self.taking(name)
        for source in self._sources:
            for settle in source.settling:
                _ = self.settling[settle]

    def _parts(self, *more: Part) -> tuple[Part, ...]:
        own = (part for source in self._sources for part in source.lua)
        return _each((*_HANDING, *self._named_groups(), *self._limits.parts(), *own, "handing", *more))

    def _named_groups(self) -> Sequence[Part]:
        """Tell the scripts which streams are not read by our own group."""
        if not self.groups.named:
            return ()
        lines = (f"groups[{quoted(stream)}] = {quoted(group)}" for stream, group in self.groups.named.items())
        return (LuaText("named-groups", "\n".join(lines)),)


def quoted(text: str) -> str:
    """Write *text* as Lua does, byte by byte if it is no plain ASCII."""
    return '"' + "".join(chr(c) if 32 <= c < 127 and c not in b'"\\' else f"\\{c:03d}" for c in text.encode()) + '"'


def _in_order(lanes: Sequence[Sequence[Sequence[str]]], number: int) -> Iterator[str]:
    for lane in lanes:
        for rank in lane:
            yield from _turned(rank, number)


def _turned(things: Sequence[T], turn: int) -> Sequence[T]:
    """Begin with another one each turn."""
    first = turn % len(things) if things else 0
    return [*things[first:], *things[:first]]


def _each(things: Iterable[T]) -> tuple[T, ...]:
    """Each of them once, in order."""
    return tuple(dict.fromkeys(things))
