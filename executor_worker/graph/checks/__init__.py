"""What `validation` looks at, by subject."""
