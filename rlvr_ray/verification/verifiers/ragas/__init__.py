"""RAGAS as the judge: ``worded`` (the verifier ``ragas``) and ``logprob``, which is cheaper.

Both measure faithfulness and relevancy, and the score is their mean. The verdicts on an answer's
statements are words in one, and probabilities of verdict tokens in the other. ``judge`` asks a
language model for one valid answer, ``metrics`` has RAGAS's prompts, ``controlled`` checks the
judge by controls, ``contexts`` asks whether the contexts answer the question.
"""
