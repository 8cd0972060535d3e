"""Processes: fork, reap, the process tree, what a dead parent leaves behind."""
