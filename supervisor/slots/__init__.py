"""Slots: numbered parts of the pool, and the process now in each."""
