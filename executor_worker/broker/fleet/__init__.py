"""State shared by all pools on one Redis: registry, identity, throttles, cancellations."""
