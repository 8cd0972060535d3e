"""What all pools on one Redis share: registry, identity, throttles, cancellations."""
