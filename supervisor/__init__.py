"""A pool of forked workers, kept alive: it knows processes and a shared table, nothing of what the workers do."""
