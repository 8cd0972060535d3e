"""The command line: one file a command, and what builds the programs."""
