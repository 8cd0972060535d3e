"""
Use the system from Python: graphs over its API, plain items over its Redis.

`DagoClient` and `AsyncDagoClient` speak to an API; `WorkQueue` and `AsyncWorkQueue` put items on the work stream.
"""

from executor_worker.client.asynchronous import AsyncDagoClient
from executor_worker.client.dago import DagoClient
from executor_worker.client.errors import DagoError, DagoUnavailable, NotEnded
from executor_worker.client.queue import AsyncWorkQueue, WorkQueue

__all__ = [
    "AsyncDagoClient",
    "AsyncWorkQueue",
    "DagoClient",
    "DagoError",
    "DagoUnavailable",
    "NotEnded",
    "WorkQueue",
]
