"""Service functions of the API, one for each verb: no HTTP, no gRPC; the only caller of the kernel's verbs."""

from executor_worker.broker.graphs.runs import EventPage
from orchestrator.service import views
from orchestrator.service.access import Access, Caller
from orchestrator.service.errors import as_api_error
from orchestrator.service.filters import filter_of, listed_filter, time_in
from orchestrator.service.fleet import Fleet, Wanted
from orchestrator.service.rules import Rules
from orchestrator.service.runs import Runs
from orchestrator.service.service import Service
from orchestrator.service.submissions import Context, Order, context_of

__all__ = [
    "Access",
    "Caller",
    "Context",
    "EventPage",
    "Fleet",
    "Order",
    "Rules",
    "Runs",
    "Service",
    "Wanted",
    "as_api_error",
    "context_of",
    "filter_of",
    "listed_filter",
    "time_in",
    "views",
]
