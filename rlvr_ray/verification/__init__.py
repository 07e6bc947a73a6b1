"""What an answer is worth: the panel of verifiers, and the rules that need no model."""
