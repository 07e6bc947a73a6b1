"""Records and the rules that decide about them: pure functions, without Ray, network or files.

``records`` has the values that every room uses (``fields`` checks their contents), ``pairing``
decides whether a batch makes a pair, ``scoring`` makes one score of the verifiers' results.
``text``, ``statements``, ``numbers/``, ``language``, ``spelling`` and ``answer_text`` read texts,
``sanitising`` makes them safe to show to a judge. ``questions`` is for files of questions.
``codec`` is all JSON, ``errors`` has every exception, ``ids`` derives ids, ``retry`` and
``concurrency`` are shared helpers. All rooms call this one; it imports the standard library, and
pydantic and tenacity in one file each.
"""
