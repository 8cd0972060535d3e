"""Options, help and examples of all commands, by what they are for."""
