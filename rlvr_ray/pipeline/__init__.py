"""From a question to its outcome: ask, record, have verified, decide."""
