"""The agent's loop, its conversation and its limits."""
