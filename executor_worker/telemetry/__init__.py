"""Telemetry: logs, metrics, summaries and traces."""
