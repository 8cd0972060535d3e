"""What `check` looks at, a file for each place where mistakes are made."""
