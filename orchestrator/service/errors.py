"""The one border where errors of Redis, of graphs and of the kernel become the API's."""

from __future__ import annotations

from executor_worker.errors import StreamError
from executor_worker.graph.problems import InvalidGraph
from orchestrator.errors import ApiError, Internal, Invalid, Unavailable


def as_api_error(error: Exception) -> ApiError:
    """Answer what *error* means to whoever has called; what is not known here is a mistake of ours."""
    match error:
        case ApiError():
            return error
        case InvalidGraph():
            return invalid(error)
        case StreamError():
            return Unavailable("Redis does not answer, or refuses; try again")
    return Internal()


def invalid(error: InvalidGraph, at: str = "") -> Invalid:
    """Tell all problems of a graph that stands at *at* in the body."""
    problems = [problem.under(at).as_dict() for problem in error.problems]
    cycle = any(problem["code"] == "cycle" for problem in problems)
    return Invalid("Graph contains cycles" if cycle else str(error), details={"errors": problems})
