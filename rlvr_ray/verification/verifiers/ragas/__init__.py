"""RAGAS as the judge: ``worded`` (the verifier ``ragas``) and ``logprob``, which is cheaper.

Both give faithfulness and relevancy, and the score is their mean. They differ in how a language
model gives the verdicts on an answer's statements: in words, or by the probabilities of its verdict
tokens. ``judge`` asks it for one sound answer, ``metrics`` has RAGAS's prompts, ``controlled`` says
whether the judge is believed, ``contexts`` asks whether the contexts answer at all.
"""
