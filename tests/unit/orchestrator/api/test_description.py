"""The API's description is true of it."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Iterable
from typing import Any

import pytest
from openapi_spec_validator import validate
from starlette.routing import Route

from executor_worker.broker import Endpoint
from executor_worker.broker.connection.asynchronous import connect
from executor_worker.graph.ends import RunEnd
from orchestrator.api import description
from orchestrator.api.app import routes
from orchestrator.api.gate import Resource
from orchestrator.service import Rules, Service
from orchestrator.settings import ApiSettings


class Silent:
    """Counts nothing."""

    def subscribed(self, change: int) -> None:
        """Nothing."""

    def submitted(self, status: str) -> None:
        """Nothing."""

    def ended(self, ends: Iterable[RunEnd]) -> None:
        """Nothing."""


def resources() -> list[Resource]:
    """The routes, over a Redis that nobody asks."""

    async def build() -> list[Resource]:
        service = Service(
            connect(Endpoint.parse("127.0.0.1:1"), "test"), ApiSettings(), Rules(lambda *_: (None, {}), bool), Silent()
        )
        found = [route.app for route in routes(service, lambda _: b"") if isinstance(route, Route)]
        return [one for one in found if isinstance(one, Resource)]

    return asyncio.run(build())


def operations() -> dict[tuple[str, str], dict[str, Any]]:
    paths = description.document()["paths"]
    return {
        (path, method.upper()): operation
        for path, item in paths.items()
        for method, operation in item.items()
        if method != "parameters"
    }


def test_it_is_openapi_3_1() -> None:
    """As the specification's own schema has it."""
    validate(description.document())


def test_it_names_every_route_and_no_other() -> None:
    """Each path with its methods; HEAD and OPTIONS go without saying."""
    there = {(one.path, method) for one in resources() for method in one.handlers if method != "HEAD"}
    assert there == set(operations())


def test_it_names_the_parameters_of_each_path() -> None:
    """Those in braces."""
    for path, _ in operations():
        shared = description.document()["paths"][path].get("parameters", [])
        named = {description._resolved(one)["name"] for one in shared if description._resolved(one)["in"] == "path"}
        assert named == set(re.findall(r"{(\w+)}", path))


def test_what_takes_a_token_says_401() -> None:
    """And what takes none says so."""
    for one in resources():
        for method in one.handlers:
            if method == "HEAD":
                continue
            operation = operations()[one.path, method]
            assert ("401" in operation["responses"]) == (method in one.roles), (one.path, method)
            assert (operation.get("security") == [{}]) == (method not in one.roles), (one.path, method)


def test_the_page_needs_nothing_from_outside() -> None:
    """No script, no address but our own; every operation is on it."""
    page = description.as_page()
    assert "<script" not in page and "http://" not in page and "https://" not in page
    for path, _ in operations():
        assert path in page


@pytest.mark.parametrize("name", ["title", "description"])
def test_it_says_what_it_is(name: str) -> None:
    """For whoever opens it first."""
    assert description.document()["info"][name]
