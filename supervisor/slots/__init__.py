"""Slots: numbered places in the pool, and the process now in each."""
