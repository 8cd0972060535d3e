"""Connections to Redis: dialling, commands, replies, scripts, one link a process."""
