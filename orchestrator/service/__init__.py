"""What the API can do, a function a verb: no HTTP, no gRPC; the only caller of the kernel's verbs."""

from orchestrator.service.access import Access, Caller
from orchestrator.service.errors import as_api_error
from orchestrator.service.fleet import Fleet, Wanted
from orchestrator.service.service import Service

__all__ = ["Access", "Caller", "Fleet", "Service", "Wanted", "as_api_error"]
