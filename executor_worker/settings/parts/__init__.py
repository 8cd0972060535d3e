"""Parts of the settings, a file for each: what an operator sets about one thing."""
