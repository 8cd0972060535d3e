"""The first word of the process that isolated calls are forked from, to the worker that started it."""

READY = b"ready"
