"""Numbers in texts, with their values and units.

``quantities`` reads them out of a text, with ``numerals``, ``dates``, ``units`` and ``labels``;
``linking`` joins ranges and sums and compares quantities; ``quantity`` has the types.
"""
