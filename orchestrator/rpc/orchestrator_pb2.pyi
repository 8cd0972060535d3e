from google.protobuf.internal import containers as _containers
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional

DESCRIPTOR: _descriptor.FileDescriptor

class SubmitGraphRequest(_message.Message):
    __slots__ = ("graph_json", "inputs", "inputs_json", "idempotency_key")
    class InputsEntry(_message.Message):
        __slots__ = ("key", "value")
        KEY_FIELD_NUMBER: _ClassVar[int]
        VALUE_FIELD_NUMBER: _ClassVar[int]
        key: str
        value: str
        def __init__(self, key: _Optional[str] = ..., value: _Optional[str] = ...) -> None: ...
    GRAPH_JSON_FIELD_NUMBER: _ClassVar[int]
    INPUTS_FIELD_NUMBER: _ClassVar[int]
    INPUTS_JSON_FIELD_NUMBER: _ClassVar[int]
    IDEMPOTENCY_KEY_FIELD_NUMBER: _ClassVar[int]
    graph_json: str
    inputs: _containers.ScalarMap[str, str]
    inputs_json: str
    idempotency_key: str
    def __init__(self, graph_json: _Optional[str] = ..., inputs: _Optional[_Mapping[str, str]] = ..., inputs_json: _Optional[str] = ..., idempotency_key: _Optional[str] = ...) -> None: ...

class SubmitGraphResponse(_message.Message):
    __slots__ = ("graph_id", "status")
    GRAPH_ID_FIELD_NUMBER: _ClassVar[int]
    STATUS_FIELD_NUMBER: _ClassVar[int]
    graph_id: str
    status: str
    def __init__(self, graph_id: _Optional[str] = ..., status: _Optional[str] = ...) -> None: ...

class GetGraphStatusRequest(_message.Message):
    __slots__ = ("graph_id",)
    GRAPH_ID_FIELD_NUMBER: _ClassVar[int]
    graph_id: str
    def __init__(self, graph_id: _Optional[str] = ...) -> None: ...

class GetGraphStatusResponse(_message.Message):
    __slots__ = ("graph_id", "status", "submitted_at", "started_at", "completed_at")
    GRAPH_ID_FIELD_NUMBER: _ClassVar[int]
    STATUS_FIELD_NUMBER: _ClassVar[int]
    SUBMITTED_AT_FIELD_NUMBER: _ClassVar[int]
    STARTED_AT_FIELD_NUMBER: _ClassVar[int]
    COMPLETED_AT_FIELD_NUMBER: _ClassVar[int]
    graph_id: str
    status: str
    submitted_at: str
    started_at: str
    completed_at: str
    def __init__(self, graph_id: _Optional[str] = ..., status: _Optional[str] = ..., submitted_at: _Optional[str] = ..., started_at: _Optional[str] = ..., completed_at: _Optional[str] = ...) -> None: ...

class GetGraphResultRequest(_message.Message):
    __slots__ = ("graph_id",)
    GRAPH_ID_FIELD_NUMBER: _ClassVar[int]
    graph_id: str
    def __init__(self, graph_id: _Optional[str] = ...) -> None: ...

class GetGraphResultResponse(_message.Message):
    __slots__ = ("graph_id", "status", "result_json", "output_json", "error")
    GRAPH_ID_FIELD_NUMBER: _ClassVar[int]
    STATUS_FIELD_NUMBER: _ClassVar[int]
    RESULT_JSON_FIELD_NUMBER: _ClassVar[int]
    OUTPUT_JSON_FIELD_NUMBER: _ClassVar[int]
    ERROR_FIELD_NUMBER: _ClassVar[int]
    graph_id: str
    status: str
    result_json: str
    output_json: str
    error: str
    def __init__(self, graph_id: _Optional[str] = ..., status: _Optional[str] = ..., result_json: _Optional[str] = ..., output_json: _Optional[str] = ..., error: _Optional[str] = ...) -> None: ...

class CancelGraphRequest(_message.Message):
    __slots__ = ("graph_id",)
    GRAPH_ID_FIELD_NUMBER: _ClassVar[int]
    graph_id: str
    def __init__(self, graph_id: _Optional[str] = ...) -> None: ...

class CancelGraphResponse(_message.Message):
    __slots__ = ("graph_id", "status", "cancelled_at")
    GRAPH_ID_FIELD_NUMBER: _ClassVar[int]
    STATUS_FIELD_NUMBER: _ClassVar[int]
    CANCELLED_AT_FIELD_NUMBER: _ClassVar[int]
    graph_id: str
    status: str
    cancelled_at: str
    def __init__(self, graph_id: _Optional[str] = ..., status: _Optional[str] = ..., cancelled_at: _Optional[str] = ...) -> None: ...

class SignalNodeRequest(_message.Message):
    __slots__ = ("graph_id", "node_id", "payload_json", "idempotency_key")
    GRAPH_ID_FIELD_NUMBER: _ClassVar[int]
    NODE_ID_FIELD_NUMBER: _ClassVar[int]
    PAYLOAD_JSON_FIELD_NUMBER: _ClassVar[int]
    IDEMPOTENCY_KEY_FIELD_NUMBER: _ClassVar[int]
    graph_id: str
    node_id: str
    payload_json: str
    idempotency_key: str
    def __init__(self, graph_id: _Optional[str] = ..., node_id: _Optional[str] = ..., payload_json: _Optional[str] = ..., idempotency_key: _Optional[str] = ...) -> None: ...

class SignalNodeResponse(_message.Message):
    __slots__ = ("status",)
    STATUS_FIELD_NUMBER: _ClassVar[int]
    status: str
    def __init__(self, status: _Optional[str] = ...) -> None: ...

class StreamGraphEventsRequest(_message.Message):
    __slots__ = ("graph_id", "after_seq", "deltas")
    GRAPH_ID_FIELD_NUMBER: _ClassVar[int]
    AFTER_SEQ_FIELD_NUMBER: _ClassVar[int]
    DELTAS_FIELD_NUMBER: _ClassVar[int]
    graph_id: str
    after_seq: int
    deltas: bool
    def __init__(self, graph_id: _Optional[str] = ..., after_seq: _Optional[int] = ..., deltas: _Optional[bool] = ...) -> None: ...

class GraphEvent(_message.Message):
    __slots__ = ("id", "seq", "type", "graph_id", "node_id", "timestamp", "data_json")
    ID_FIELD_NUMBER: _ClassVar[int]
    SEQ_FIELD_NUMBER: _ClassVar[int]
    TYPE_FIELD_NUMBER: _ClassVar[int]
    GRAPH_ID_FIELD_NUMBER: _ClassVar[int]
    NODE_ID_FIELD_NUMBER: _ClassVar[int]
    TIMESTAMP_FIELD_NUMBER: _ClassVar[int]
    DATA_JSON_FIELD_NUMBER: _ClassVar[int]
    id: str
    seq: int
    type: str
    graph_id: str
    node_id: str
    timestamp: str
    data_json: str
    def __init__(self, id: _Optional[str] = ..., seq: _Optional[int] = ..., type: _Optional[str] = ..., graph_id: _Optional[str] = ..., node_id: _Optional[str] = ..., timestamp: _Optional[str] = ..., data_json: _Optional[str] = ...) -> None: ...
