"""All verbs of runs in one place, for callers."""

from executor_worker.broker.graphs.documents import document, result
from executor_worker.broker.graphs.event_pages import EventPage, check_cursor, cursor_of, events
from executor_worker.broker.graphs.heads import Head, head, require
from executor_worker.broker.graphs.listings import Filter, Listing, listing
from executor_worker.broker.graphs.node_views import NodeDetail, NodeView, node, nodes
from executor_worker.broker.graphs.stepping import step
from executor_worker.broker.graphs.submission import StoredPlan, Submission, Submitted, new_graph_id, submit
from executor_worker.broker.graphs.verbs import Cancelled, Retried, cancel, delete, hold, resume, retry

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
