"""Records and the rules that decide about them: pure functions, without Ray, network or files.

``records`` has the values that every room uses, ``pairing`` decides whether a batch makes a pair,
``scoring`` makes one score of the verifiers' results. ``text``, ``numbers/``, ``language``,
``spelling`` and ``answer_text`` read texts. ``codec`` converts records to JSON, ``errors`` has
every exception, ``ids`` derives ids. Every room calls this one; it imports the standard library,
and pydantic and tenacity in one file each.
"""
