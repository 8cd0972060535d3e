"""The worker: take, execute, settle, one item at a time."""
