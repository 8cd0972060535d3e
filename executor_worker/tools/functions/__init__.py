"""Functions marked @tool: their schema, limits, values and loading."""
