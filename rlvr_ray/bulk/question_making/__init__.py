"""Questions made from the documents that are ingested."""
