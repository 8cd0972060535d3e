"""The demo: a pool, a graph and its results on a machine with nothing else."""
