"""Numbers in texts: their values, their units, and which of them are quantities."""
