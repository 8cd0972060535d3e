"""`graph`: run graphs, look at their runs, and tell them what to do."""
