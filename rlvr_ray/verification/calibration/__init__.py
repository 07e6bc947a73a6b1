"""`rlvr judge-report`: how far a judge can be trusted, measured on labelled answers."""
