"""Checks of a graph by subject, for `validation`."""
