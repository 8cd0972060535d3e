"""Checks of `check`, a file for each place where mistakes are made."""
