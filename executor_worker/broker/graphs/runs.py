"""All verbs of runs in one place, for callers."""

from executor_worker.broker.graphs.documents import document, result
from executor_worker.broker.graphs.stepping import step
from executor_worker.broker.graphs.submission import StoredPlan, Submission, Submitted, new_graph_id, submit
from executor_worker.broker.graphs.verbs import Cancelled, Retried, cancel, delete, hold, resume, retry
from executor_worker.broker.graphs.views import (
    EventPage,
    Filter,
    Head,
    Listing,
    NodeDetail,
    NodeView,
    active_count,
    check_cursor,
    cursor_of,
    events,
    head,
    listing,
    node,
    nodes,
    require,
)

__all__ = [
    "Cancelled",
    "EventPage",
    "Filter",
    "Head",
    "Listing",
    "NodeDetail",
    "NodeView",
    "Retried",
    "StoredPlan",
    "Submission",
    "Submitted",
    "active_count",
    "cancel",
    "check_cursor",
    "cursor_of",
    "delete",
    "document",
    "events",
    "head",
    "hold",
    "listing",
    "new_graph_id",
    "node",
    "nodes",
    "require",
    "result",
    "resume",
    "retry",
    "step",
    "submit",
]
