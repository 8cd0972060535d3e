"""Jobs of roles: the streams, records and updates of a sibling system's executor."""
