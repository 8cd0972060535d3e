"""Speed, measured on the real program against a real Redis: `make bench`."""
