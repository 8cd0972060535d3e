"""Envelopes: bytes in, bytes out."""
