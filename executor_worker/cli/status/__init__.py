"""Status: what pools and streams look like at a glance."""
