"""The scoreboard: one table in shared memory, a row per slot."""
