"""The keeper's duties for its pool: all that talks to the outside for it."""
