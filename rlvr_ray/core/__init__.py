"""What is decided, and nothing about how it is run: pure, standard library only."""
