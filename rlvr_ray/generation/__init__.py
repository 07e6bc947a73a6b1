"""Answers from language models: prompts, engines (one file each), limits on calls in flight."""
