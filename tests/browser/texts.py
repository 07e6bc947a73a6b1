"""What the stage knows and says: documents, questions, and the answers that a fake writes."""

import re
from collections.abc import Mapping, Sequence

from rlvr_ray.generation.generator import Prompt
from tests.fakes import Reply

DOCUMENTS = {
    "beekeeping.md": """# A year with bees

A colony in a standard hive holds up to sixty thousand bees in June and some ten thousand in
January. The queen lays up to two thousand eggs a day in early summer. Worker bees live for about
six weeks in summer and for about five months in winter.

Honey is ripe when it holds less than eighteen percent water. Bees then seal the cells with wax, and
a keeper may take the comb. Each colony needs about fifteen kilograms of honey to come through the
winter.

Swarming is how a colony multiplies: the old queen leaves with half of the workers in May or June.
A keeper who gives the bees more room early in spring sees fewer swarms.
""",
    "lighthouse.md": """# The light at Cape Arden

The lighthouse at Cape Arden was built in 1871 from local granite. Its lamp stands forty-one
metres above the sea and is seen from nineteen nautical miles. The lens is of the first order and
turns on a bath of mercury.

The last keeper left in 1988, when the light was automated. Since then a radio link reports a
failure of the lamp to the coast guard within a minute.

The fog signal gives two blasts every ninety seconds.
""",
    "sourdough.md": """# Bread without yeast

A sourdough starter is a mixture of flour and water in which wild yeasts and lactic acid bacteria
live. It is fed once a day with equal weights of flour and water. At twenty-four degrees it doubles
in about six hours.

The dough rests for twelve to sixteen hours in the cold, which makes it sour. It is baked at two
hundred and fifty degrees, with steam for the first fifteen minutes.
""",
}

QUESTION = "How much water does ripe honey hold?"
#: So asked, the answers all say the same.
ALIKE = "When was the lighthouse built?"
#: Of this one the answers are too close to each other, or too poor, for a pair.
POOR = "Who painted the kitchen ceiling?"

ANSWERS: Mapping[str, Sequence[str]] = {
    QUESTION: (
        "Honey is ripe when it holds less than eighteen percent water. "
        "Bees then seal the cells with wax.",
        "Ripe honey holds less than eighteen percent water. It is heated to ninety degrees for an "
        "hour before it is sold.",
        "Wine is bottled after three years in oak barrels. The cellar is lit by oil lamps.",
    ),
    ALIKE: ("The lighthouse at Cape Arden was built in 1871 from local granite.",) * 8,
    POOR: (
        "An unknown master painted it in the spring of 1802.",
        "The ceiling shows a hunting party of nine riders.",
        "It was whitewashed twice by travelling craftsmen.",
    ),
}


def written(prompt: Prompt, answers: Mapping[str, Sequence[str]] = ANSWERS) -> Sequence[Reply]:
    """What the fake model writes: what is set for the question, or sentences of the passages.

    The first answer then is all from the passages, the later ones less and less.
    """
    asked = prompt.messages[-1].content
    wanted = len(prompt.samples)
    for question, texts in answers.items():
        if asked.endswith(question):
            return [texts[number % len(texts)] for number in range(wanted)]
    passages = re.findall(r'"""\n(.*?)\n"""', asked, re.DOTALL)
    sentences = re.findall(r"[A-Z][^.#]*\.", passages[0].replace("\n", " "))
    made_up = ["Nobody knows why.", "Some say that it was otherwise.", "It costs nine crowns."]
    return [
        " ".join([*sentences[: max(2 - number, 0)], *made_up[: 2 * number]])
        for number in range(wanted)
    ]
