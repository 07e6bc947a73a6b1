"""Many questions: the run, the command that starts it, and what it tells and reports."""
