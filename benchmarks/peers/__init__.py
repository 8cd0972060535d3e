"""The same jobs on other queues, each in an environment of its own: `make bench-peers`."""
