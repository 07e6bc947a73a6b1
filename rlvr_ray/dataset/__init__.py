"""What is kept: the ledger, the rows and the files made from it."""
