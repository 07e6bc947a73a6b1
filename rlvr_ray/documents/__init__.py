"""Documents: reading them, cutting them into passages, finding passages."""
