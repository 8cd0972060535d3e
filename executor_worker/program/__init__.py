"""The programs that run in a supervisor, built from settings."""
