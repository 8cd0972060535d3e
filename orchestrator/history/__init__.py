"""History in PostgreSQL: what has ended is kept there for good, written behind Redis."""
