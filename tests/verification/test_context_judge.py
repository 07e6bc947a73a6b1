"""Abstentions by meaning, with the real embedding: what is one, in other words than the code's."""

from functools import partial

import pytest

from rlvr_ray.documents.embedder import cosines
from rlvr_ray.documents.embedding_cache import KeptVectors
from rlvr_ray.verification.abstention import abstains
from rlvr_ray.verification.grounding import Similarity
from tests.embedder import minilm

pytestmark = pytest.mark.integration


QUESTION = "How much does a ticket for the Corvin tram cost?"
CONTEXTS = (
    "The Corvin tram was opened in 1911. It has 14 stops and runs from Mill Square to the harbour.",
    "Tickets for the Corvin tram are sold by the drivers. Dogs travel free of charge.",
)
REFUSALS = [
    "That detail is missing from the excerpts.",
    "The excerpts are silent on the price of a ticket.",
    "Nothing in the passages tells how much a ticket costs.",
    "None of the sources covers ticket prices.",
    "I don't have enough context to answer that.",
    "The price isn't there.",
    "There's nothing about the price in the material.",
    "The sources I was given leave this open.",
    "Based on what I was given, the cost can't be established.",
    "It is impossible to tell from the given text how much a ticket costs.",
    "The answer to this question can't be found in the passages.",
    "I wasn't able to find the price of a ticket in the documents.",
    "No price is given for tickets.",
    "The passages say who sells tickets, but they don't say what they cost.",
    "Unfortunately, the context lacks information about ticket prices.",
    "While the passages mention that drivers sell tickets, the price itself is not stated.",
    "The cost of a ticket remains unspecified.",
    "I'm afraid the text doesn't tell us.",
    "The passages fail to mention what a ticket costs.",
    "This information is not available in the provided text.",
    "I can't tell from these passages how much a ticket costs.",
    "The context only says that tickets are sold by the drivers; it does not give their price.",
    "No information is provided about ticket prices.",
    "Cannot be determined.",
    "Not stated in the text.",
    "The document makes no mention of ticket prices.",
    "I have no information about the cost of tickets.",
    "The question can't be answered with the passages given.",
    "There is no way to know this from the passages.",
    "How much a ticket costs is not revealed.",
    "Sorry, but I cannot help with that based on these passages.",
    "The given texts don't contain the answer.",
    "I do not know how much a ticket costs, as the passages only describe the route.",
    "The passages don't discuss fares.",
    "Unclear.",
    "No answer.",
    "The ticket price is absent from the provided passages.",
    "The text provides no details on that.",
    "We are not told what a ticket costs.",
    "The passages neither state nor imply a ticket price.",
]
#: Question, answer, and a context that says so.
CLAIMS = [
    (
        "Can I pay by card on the Corvin tram?",
        "Card payment is not possible.",
        "The drivers take cash only. Card payment is not possible.",
    ),
    ("Do dogs need a ticket?", "No, dogs don't need a ticket.", "Dogs travel free of charge."),
    (
        "What happens if no driver is present?",
        "If no driver is present, no ticket is sold.",
        "If no driver is present, no ticket is sold.",
    ),
    (
        "Who wrote the song?",
        "The author of the song is unknown.",
        "The author of the song is unknown; it was first printed in 1820.",
    ),
    (
        "Does the API return an error for unknown keys?",
        "No, the API does not return an error; it ignores unknown keys.",
        "Unknown keys are ignored by the API without an error.",
    ),
    (
        "What does the letter say about the debt?",
        "The letter does not mention the debt.",
        "The letter speaks of the harvest and the weather. It does not mention the debt.",
    ),
    (
        "Does the manual describe the menu?",
        "No, the manual does not describe the menu.",
        "The manual describes the buttons only; the menu is not described.",
    ),
    (
        "Is the date of the battle known?",
        "No, the date of the battle is not known.",
        "Historians do not know the date of the battle.",
    ),
    (
        "What did the minister say about taxes?",
        "The minister gave no details about taxes.",
        "The minister spoke for an hour but gave no details about taxes.",
    ),
    (
        "Is there evidence that the drug helps?",
        "There is no evidence that the drug helps.",
        "Three trials found no evidence that the drug helps.",
    ),
    ("What is the limit?", "There is no limit.", "There is no limit on the number of uploads."),
    ("Who may enter?", "Nobody without a badge may enter.", "No person may enter without a badge."),
    (
        "What does null mean?",
        "It means that the value is not known.",
        "Null means that the value is not known.",
    ),
    ("What is the default?", "None", "The default of the parameter is None."),
    (
        "How did the witness answer?",
        "She said that she could not remember.",
        "The witness said that she could not remember.",
    ),
    (
        "Is parking provided?",
        "No, parking is not provided.",
        "Parking is not provided at the hall.",
    ),
    (
        "Did the report name the culprit?",
        "The report did not name the culprit.",
        "The report, published in May, did not name the culprit.",
    ),
    (
        "What does error 7 tell?",
        "No information about the user could be found.",
        "Error 7: no information about the user could be found.",
    ),
    (
        "Was the treaty signed?",
        "The treaty was never signed.",
        "The treaty was drafted in 1904 but never signed.",
    ),
    (
        "Can I get a refund?",
        "Refunds are not available for used tickets.",
        "Refunds are not available for used tickets.",
    ),
    (
        "How old is the tree?",
        "Its age cannot be determined, because the core is hollow.",
        "The tree is hollow, so its age cannot be determined.",
    ),
    (
        "What should I do if I do not know the answer in the test?",
        "If you don't know the answer, leave the field empty.",
        "If you do not know the answer, leave the field empty.",
    ),
]


@pytest.fixture(scope="module")
def similarity() -> Similarity:
    return partial(cosines, KeptVectors(minilm()))


@pytest.mark.parametrize("answer", REFUSALS)
def test_these_abstain(answer: str, similarity: Similarity) -> None:
    assert abstains(answer, QUESTION, CONTEXTS, similarity)


@pytest.mark.parametrize(("question", "answer", "context"), CLAIMS)
def test_these_do_not(question: str, answer: str, context: str, similarity: Similarity) -> None:
    contexts = (context, "Ray is a framework for scaling Python programs.")
    assert not abstains(answer, question, contexts, similarity)
