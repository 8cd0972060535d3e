"""Reasons why another server can't be reached, for people: the system's words, without the libraries' wrapping."""

from __future__ import annotations


def reason_of(error: BaseException) -> str:
    """Answer the innermost reason of a connection that failed, e.g. `Connection refused`; of several layers one."""
    layer: BaseException | None = error
    said = ""
    while layer is not None:
        if isinstance(layer, OSError) and layer.strerror and layer.errno is not None:
            return layer.strerror
        said = str(layer).strip() or said
        layer = layer.__cause__ or layer.__context__
    return said.rstrip(".") or type(error).__name__
