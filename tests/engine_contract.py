"""What every engine has to do (``generation.generator.Engine``): one suite, whoever runs the model.

A test module subclasses ``EngineContract``, brings the fixtures and says what is true of its
engine. Nothing depends on what a model writes, only on the form: its weights may be random.
"""

import asyncio
import contextlib
import copy
import itertools
import json
import math
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import replace
from typing import Any

import pytest

from rlvr_ray.core.errors import ContextOverflow, InputError, TimedOut, Unavailable
from rlvr_ray.generation.generator import Completion, CompletionChunk, Engine, Prompt, Sample
from rlvr_ray.generation.prompts import Message

#: How many samples an engine decodes, by its own account.
AtWork = Callable[[Engine], Awaitable[int]]

#: Longest wait for what takes a moment, in seconds: far shorter than ``EngineContract.long`` runs.
PATIENCE_S = 15.0
#: Time limit of an engine that has to miss it, in seconds.
IMPATIENT_S = 0.3

#: A list of lists of lists …: JSON that no model can bring to an end.
ENDLESS: dict[str, Any] = {
    "$defs": {"list": {"type": "array", "items": {"$ref": "#/$defs/list"}, "minItems": 1}},
    "$ref": "#/$defs/list",
}
#: Room for a small object of which each character is a token, with many spaces between.
JSON_TOKENS = 400


def prompt(
    text: str = "Name a colour.",
    *samples: tuple[float, int],
    max_tokens: int = 6,
    system: str = "Be brief.",
    **more: Any,
) -> Prompt:
    """A chat and samples of it, each a temperature and a seed; without any, one without heat."""
    return Prompt(
        messages=(Message(role="system", content=system), Message(role="user", content=text)),
        samples=tuple(Sample(temperature=t, seed=s) for t, s in samples or ((0.0, 1),)),
        max_tokens=max_tokens,
        **more,
    )


def choice(*words: str) -> dict[str, Any]:
    """The schema of an object that holds one of some words."""
    return {
        "type": "object",
        "properties": {"word": {"type": "string", "enum": list(words)}},
        "required": ["word"],
        "additionalProperties": False,
    }


def worded(word: str, *samples: tuple[float, int]) -> Prompt:
    """Its schema allows one object only; the text helps a model that reads to write it soon."""
    text = f"Write this line of JSON and nothing else: {json.dumps({'word': word})}"
    return prompt(text, *samples, max_tokens=JSON_TOKENS, json_schema=choice(word))


def drawn(asked: Prompt, answer: list[Completion] | InputError) -> list[Completion]:
    """What came for a prompt, if it is a completion for each sample."""
    assert not isinstance(answer, InputError), f"{asked.messages[-1].content[:80]!r}: {answer!r}"
    assert len(answer) == len(asked.samples), f"{len(answer)} for {len(asked.samples)} samples"
    return answer


async def draw(engine: Engine, asked: Prompt) -> list[Completion]:
    """The completions of one prompt."""
    (answer,) = await engine.generate([asked])
    return drawn(asked, answer)


async def texts(engine: Engine, asked: Prompt) -> list[str]:
    """The texts of one prompt's completions."""
    return [each.text for each in await draw(engine, asked)]


async def prompt_tokens(engine: Engine, text: str, **more: Any) -> int:
    """How many tokens a text has, the rest of its chat included."""
    (only,) = await draw(engine, prompt(text, max_tokens=1, **more))
    return only.usage.prompt_tokens


async def text_of(engine: Engine, tokens: int) -> str:
    """A text that the model reads as about so many tokens, whatever its tokenizer."""
    line = "The house at the corner is old. "
    one, eleven = [await prompt_tokens(engine, line * count) for count in (1, 11)]
    return line * round(tokens / ((eleven - one) / 10))


async def streamed(engine: Engine, asked: Prompt) -> tuple[list[list[str]], list[Completion]]:
    """For each sample the chunks' texts, and its completion; the stream's form is checked."""
    chunks: list[list[str]] = [[] for _ in asked.samples]
    whole: dict[int, Completion] = {}
    async with contextlib.aclosing(engine.stream(asked)) as stream:
        async for chunk in stream:
            assert chunk.sample not in whole, f"{chunk} comes after the last chunk of its sample"
            chunks[chunk.sample].append(chunk.text)
            if chunk.completion is not None:
                whole[chunk.sample] = chunk.completion
    assert sorted(whole) == list(range(len(asked.samples))), "some samples have no last chunk"
    for index, completion in whole.items():
        assert "".join(chunks[index]).strip() == completion.text, f"of sample {index}"
    return chunks, [whole[index] for index in range(len(asked.samples))]


async def works(engine: Engine, samples: int) -> None:
    """Have it answer something short, with as many samples at once, in a bounded time."""
    asked = prompt("Name a tree.", *((0.8, seed) for seed in range(samples)), max_tokens=1)
    async with asyncio.timeout(PATIENCE_S):
        await draw(engine, asked)


class EngineContract:
    """The tests. A subclass brings three fixtures, and its module says which event loop runs them.

    ``engine`` is one for all tests; ``spare`` is one that is closed in the last test, the same
    one where another costs much; ``at_work`` counts the samples that an engine decodes.
    """

    context_tokens: int  #: of one completion, prompt and answer
    together: int  #: samples that it decodes at the same time, or fewer
    shares_prefill = True  #: a prompt's samples, and one-token prompts of a call that begin alike
    block_tokens = 1  #: tokens that are shared come in multiples of this
    control_tokens_are_text = True  #: in a message
    poll_s = 0.05  #: pause between two questions of what it does, for which there is no event

    @pytest.fixture
    def impatient(self, engine: Engine) -> Engine:
        """The same engine for somebody with a tiny time limit."""
        other: Any = copy.copy(engine)
        other._settings = other._settings.model_copy(update={"timeout_s": IMPATIENT_S})
        hasty: Engine = other
        return hasty

    @property
    def long(self) -> Prompt:
        """It keeps the whole engine busy for much longer than ``PATIENCE_S``."""
        return prompt(
            "Go on.",
            *((1.0, seed) for seed in range(self.together)),
            max_tokens=self.context_tokens - 200,
            json_schema=ENDLESS,
        )

    @property
    def overflowing(self) -> Prompt:
        """It has more words than the context has tokens."""
        return prompt("word " * (self.context_tokens + 100), max_tokens=1)

    async def busy(self, engine: Engine, at_work: AtWork) -> None:
        """Wait until the engine decodes all samples of ``long``."""
        await self._counted(engine, at_work, lambda count: count >= self.together, 0.05)

    async def rests(self, engine: Engine, at_work: AtWork) -> None:
        """Wait until the engine decodes nothing, long before ``long`` could be done."""
        await self._counted(engine, at_work, lambda count: count == 0, self.poll_s)

    async def _counted(
        self, engine: Engine, at_work: AtWork, enough: Callable[[int], bool], pause_s: float
    ) -> None:
        count = -1
        try:
            async with asyncio.timeout(PATIENCE_S):
                while not enough(count := await at_work(engine)):
                    await asyncio.sleep(pause_s)  # no engine tells of it
        except TimeoutError:
            raise AssertionError(f"after {PATIENCE_S:g} s it decodes {count} samples") from None

    # What a completion is.

    async def test_it_says_which_model_it_is(self, engine: Engine) -> None:
        (completion,) = await draw(engine, prompt())
        assert await engine.check() == engine.model == completion.model != ""

    async def test_tokens_are_counted(self, engine: Engine) -> None:
        short, long = [
            (await draw(engine, prompt(text, (0.0, 1), (0.9, 2), max_tokens=5)))[1].usage
            for text in ("Name a fish.", "Name a fish. " * 20)
        ]
        for usage in (short, long):
            assert 1 <= usage.completion_tokens <= 5, usage
            assert 0 <= usage.cached_tokens < usage.prompt_tokens, usage
        assert long.prompt_tokens - short.prompt_tokens >= 19 * 3

    async def test_it_ends_at_max_tokens(self, engine: Engine) -> None:
        asked = prompt("Go on.", (0.0, 1), (1.0, 2), max_tokens=5, json_schema=ENDLESS)
        for each in await draw(engine, asked):
            assert (each.finish_reason, each.usage.completion_tokens) == ("length", 5), each

    async def test_it_stops_where_there_is_no_more_to_say(self, engine: Engine) -> None:
        asked = worded("yes", (0.0, 1))
        (each,) = await draw(engine, asked)
        assert (each.finish_reason, json.loads(each.text)) == ("stop", {"word": "yes"}), each

    async def test_texts_are_stripped(self, engine: Engine) -> None:
        asked = prompt("Write three lines.", *((1.2, seed) for seed in range(4)), max_tokens=8)
        for text in await texts(engine, asked):
            assert text == text.strip()

    # Samples.

    async def test_samples_come_in_order_each_drawn_its_way(self, engine: Engine) -> None:
        """More than the engine decodes together, so that each wave keeps its places."""
        ways = [(0.0, 1), (1.5, 2), (1.5, 3), (0.0, 4), (1.5, 2), (1.5, 3), (1.5, 5)]
        found = await texts(engine, prompt("Invent a name.", *ways, max_tokens=8))
        told = f"{list(zip(ways, found, strict=True))}"
        assert found[0] == found[3], f"temperature 0 knows no chance: {told}"
        assert found[1] == found[4] and found[2] == found[5], f"a seed repeats: {told}"
        assert len({found[1], found[2], found[6]}) > 1, f"seeds make a difference: {told}"
        assert len(set(found)) > 2, f"temperatures make a difference: {told}"

    async def test_the_same_again_gives_the_same_again(self, engine: Engine) -> None:
        asked = prompt("Tell me about the sea.", (0.0, 0), (1.0, 11), (0.3, 12), max_tokens=12)
        first = await texts(engine, asked)
        assert await texts(engine, asked) == first
        await texts(engine, prompt("Tell me about mountains.", (1.0, 3)))
        assert await texts(engine, asked) == first, "after another prompt"

    async def test_three_samples_of_a_long_prompt(self, engine: Engine) -> None:
        """Where the prefill is shared, the engine's own counters show that it was paid once."""
        size = 1000 if self.shares_prefill else 200
        text = await text_of(engine, size)
        ways = [(0.8, 1), (0.8, 2), (0.8, 3)]
        asked = prompt(text, *ways, max_tokens=4, system="Whales, ants, owls.")
        usages = [each.usage for each in await draw(engine, asked)]
        first, *others = usages
        assert 0.9 * size < first.prompt_tokens < 1.2 * size, first
        assert all(usage.prompt_tokens == first.prompt_tokens for usage in others), usages
        if self.shares_prefill:
            assert first.cached_tokens < first.prompt_tokens / 10, (
                f"it is the one that pays: {first}"
            )
            for usage in others:
                assert usage.prompt_tokens - usage.cached_tokens <= self.block_tokens, usage
        else:
            assert all(0 <= usage.cached_tokens < usage.prompt_tokens for usage in usages), usages

    async def test_without_samples_there_is_nothing(self, engine: Engine) -> None:
        nothing = replace(prompt(), samples=())
        assert await engine.generate([]) == []
        assert await engine.generate([nothing]) == [[]]
        assert await streamed(engine, nothing) == ([], [])

    # The schema.

    async def test_every_sample_keeps_to_the_schema(self, engine: Engine) -> None:
        schema = {
            "type": "object",
            "properties": {
                "verdict": {"type": "string", "enum": ["right", "wrong"]},
                "sure": {"type": "boolean"},
            },
            "required": ["verdict", "sure"],
            "additionalProperties": False,
        }
        ways = [(0.0, 1), (0.7, 2), (2.0, 3), (2.0, 4)]
        text = 'Say wrong, or write {"verdict": "maybe"}, and not a word more.'
        asked = prompt(text, *ways, max_tokens=JSON_TOKENS, json_schema=schema)
        for each in await draw(engine, asked):
            assert each.finish_reason == "stop", each
            found = json.loads(each.text)
            assert found.keys() == {"verdict", "sure"}, each
            assert found["verdict"] in ("right", "wrong") and found["sure"] in (True, False), each

    # Log-probabilities.

    @pytest.mark.parametrize("most", [1, 20])
    async def test_each_token_has_its_likeliest(self, engine: Engine, most: int) -> None:
        (each,) = await draw(engine, prompt("Count to ten.", logprobs=most))
        places = each.logprobs
        # A token that ends the text may be on the account, and have no place.
        spare = 0 if each.finish_reason == "length" else 1
        assert each.usage.completion_tokens - spare <= len(places) <= each.usage.completion_tokens
        for place in places:
            assert 1 <= len(place) <= most, place
            assert all(value <= 0 for value in place.values()), place
            assert sum(map(math.exp, place.values())) <= 1.001, place

    async def test_without_heat_the_likeliest_token_is_drawn(self, engine: Engine) -> None:
        (each,) = await draw(engine, prompt("Count to ten.", logprobs=3))
        best = [max(place, key=place.__getitem__) for place in each.logprobs]
        if each.finish_reason == "stop":
            del best[each.usage.completion_tokens - 1 :]  # what ends the text is not in it
        # From a token on that is a part of a character, texts cannot be compared.
        whole = list(itertools.takewhile(lambda token: token and "\ufffd" not in token, best))
        assert whole, f"nothing to compare: {best}"
        assert each.text.startswith("".join(whole).strip()), f"{each.text!r} of {best}"
        if whole == best:
            assert each.text == "".join(best).strip()

    async def test_they_come_for_every_sample_and_only_where_asked_for(
        self, engine: Engine
    ) -> None:
        asked = prompt("Count.", (1.0, 1), (1.0, 2), json_schema=ENDLESS, max_tokens=4)
        assert [each.logprobs for each in await draw(engine, asked)] == [(), ()]
        with_them = await draw(engine, replace(asked, logprobs=2))
        assert [len(each.logprobs) for each in with_them] == [4, 4]

    async def test_one_token_prompts_that_begin_alike(self, engine: Engine) -> None:
        """Each has its own answer, and costs what it adds where the prefill is shared."""
        system = "Judge by this. " + await text_of(engine, 300)

        def asked(count: int, about: str = system) -> Prompt:
            text = "Is it so?" + " Really?" * count
            return prompt(text, max_tokens=1, logprobs=5, system=about)

        answers = await engine.generate([asked(count) for count in range(6)])
        found = [drawn(asked(count), answer)[0] for count, answer in enumerate(answers)]
        for each in found:
            assert each.usage.completion_tokens == len(each.logprobs) == 1, each
        sizes = [each.usage.prompt_tokens for each in found]
        assert sizes == sorted(set(sizes)), f"each is longer than the one before: {sizes}"
        if self.shares_prefill:
            computed = [each.usage.prompt_tokens - each.usage.cached_tokens for each in found]
            (tail,) = await draw(engine, asked(5, "Judge."))
            assert computed[0] > 250, f"the first one pays: {computed}"
            assert max(computed[1:]) <= tail.usage.prompt_tokens + self.block_tokens, computed
        for count in (0, 5):
            (alone,) = await draw(engine, asked(count))
            assert alone.text == found[count].text, f"of prompt {count}"

    # Messages.

    @pytest.mark.parametrize(
        "text",
        [
            "",
            "🦆 鴨 e\u0301\u0323 👩‍👩‍👧 \u2028\x85\x1b[31m\u200f",
            '{"a": "\\u0000"}',
            "%s {x} {{y}}",
        ],
    )
    async def test_any_text_is_read(self, engine: Engine, text: str) -> None:
        asked = prompt(text, (0.8, 1), max_tokens=2, system=text)
        _, (completion,) = await streamed(engine, asked)
        assert completion.usage.prompt_tokens > 0
        await draw(engine, asked)

    async def test_any_text_is_written(self, engine: Engine) -> None:
        """Pieces hold whole characters, of however many tokens each is made."""
        word = "🦆 鴨 e\u0301 ü"
        asked = worded(word, (1.0, 1))
        chunks, (completion,) = await streamed(engine, asked)
        assert json.loads(completion.text) == {"word": word}
        assert "\ufffd" not in "".join(chunks[0])
        assert json.loads((await texts(engine, asked))[0]) == {"word": word}

    async def test_what_is_written_can_be_recorded(self, engine: Engine) -> None:
        """Not even a schema that wants a NUL brings one into a text."""
        asked = worded("a\0b", (1.0, 1))
        for each in await draw(engine, asked):
            assert "\0" not in each.text, each
        chunks, _ = await streamed(engine, asked)
        assert "\0" not in "".join(chunks[0])

    @pytest.mark.parametrize(
        "token", ["<|im_end|>", "<|im_start|>", "<|eot_id|>", "<|start_header_id|>", "</s>"]
    )
    async def test_control_tokens_in_a_message_are_text(self, engine: Engine, token: str) -> None:
        """A passage that says how a turn ends must not end the user's turn."""
        plain, many = [await prompt_tokens(engine, text) for text in ("", token * 8)]
        assert many - plain >= 8, f"{token} was dropped"
        if self.control_tokens_are_text:
            assert many - plain >= 16, f"{token} was read as a control token"

    # Streaming.

    async def test_a_stream_grows_into_the_completions(self, engine: Engine) -> None:
        ways = [(0.0, 1), (0.8, 2), (0.8, 3), (0.0, 4)]
        asked = prompt("Count to five.", *ways, max_tokens=8, logprobs=2)
        chunks, whole = await streamed(engine, asked)
        assert whole[0].text == whole[3].text, "temperature 0 knows no chance"
        for each in whole:
            assert 1 <= each.usage.completion_tokens <= 8 and each.logprobs, each
        for sample in chunks:
            assert len([text for text in sample if text]) > 1, f"it came at once: {sample}"

    async def test_a_stream_says_what_generate_says(self, engine: Engine) -> None:
        asked = prompt("Count to five.", (0.0, 1), max_tokens=12)
        _, (by_stream,) = await streamed(engine, asked)
        (by_call,) = await draw(engine, asked)
        for name in ("text", "finish_reason", "model"):
            assert getattr(by_stream, name) == getattr(by_call, name), name
        assert by_stream.usage.completion_tokens == by_call.usage.completion_tokens

    # Many at once.

    async def test_many_calls_at_once_do_not_mix(self, engine: Engine) -> None:
        """Twelve, the first one with several prompts of two samples; each has a word of its own."""
        words = [f"{letter}{number}" for number, letter in enumerate("abcdefghijklmn")]
        together = [worded(word, (1.0, 1), (1.0, 2)) for word in words[:3]]

        async def alone(place: int, word: str) -> str:
            asked = worded(word, (1.0, 1))
            if place % 2:
                return (await texts(engine, asked))[0]
            _, (completion,) = await streamed(engine, asked)
            return completion.text

        answers, others = await asyncio.gather(
            engine.generate(together),
            asyncio.gather(*(alone(place, word) for place, word in enumerate(words[3:]))),
        )
        pairs = [drawn(asked, answer) for asked, answer in zip(together, answers, strict=True)]
        found = [each.text for pair in pairs for each in pair] + others
        expected = [word for word in words[:3] for _ in "12"] + words[3:]
        assert [json.loads(text) for text in found] == [{"word": word} for word in expected]

    async def test_prompts_of_one_call_keep_their_places(self, engine: Engine) -> None:
        """Those of one token and others, with one or more samples, and one that does not fit."""
        system = "You answer with a colour."
        asked = [
            prompt("Sky?", max_tokens=1, logprobs=2, system=system),
            prompt("And the grass?", (0.8, 1), (0.8, 2), max_tokens=2, system=system),
            self.overflowing,
            prompt("And all of the snow?", max_tokens=1, logprobs=2, system=system),
            prompt("And coal in the deepest of the mines?", (0.8, 1), max_tokens=2, system=system),
        ]
        answers = await engine.generate(asked)
        overflow = answers.pop(2)
        del asked[2]
        assert isinstance(overflow, ContextOverflow), f"{overflow!r}"
        assert "top_k" in str(overflow), f"it does not say what to do: {overflow}"
        assert str(overflow).isprintable() and "word word" not in str(overflow), f"{overflow}"
        found = [drawn(each, answer) for each, answer in zip(asked, answers, strict=True)]
        sizes = [completions[0].usage.prompt_tokens for completions in found]
        assert sizes == sorted(set(sizes)), f"each is longer than the one before: {sizes}"
        await works(engine, self.together)

    async def test_a_stream_of_a_prompt_that_does_not_fit(self, engine: Engine) -> None:
        with pytest.raises(ContextOverflow, match="top_k"):
            await streamed(engine, self.overflowing)
        await works(engine, self.together)

    # Ending before the end.

    async def test_cancelling_stops_its_work(self, engine: Engine, at_work: AtWork) -> None:
        task = asyncio.create_task(engine.generate([self.long]))
        await self.busy(engine, at_work)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        await self.rests(engine, at_work)
        await works(engine, self.together)

    async def test_cancelling_who_streams_stops_its_work(
        self, engine: Engine, at_work: AtWork
    ) -> None:
        task = asyncio.create_task(streamed(engine, self.long))
        await self.busy(engine, at_work)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        await self.rests(engine, at_work)
        await works(engine, self.together)

    async def test_leaving_a_stream_stops_its_work(self, engine: Engine, at_work: AtWork) -> None:
        async with contextlib.aclosing(engine.stream(self.long)) as stream:
            assert isinstance(await anext(stream), CompletionChunk)
        await self.rests(engine, at_work)
        await works(engine, self.together)

    async def test_who_waits_gets_on_once_another_leaves(
        self, engine: Engine, at_work: AtWork
    ) -> None:
        long = asyncio.create_task(engine.generate([self.long]))
        await self.busy(engine, at_work)
        short = asyncio.create_task(works(engine, self.together))
        await engine.check()  # it got as far as to wait
        long.cancel()
        await short
        await asyncio.gather(long, return_exceptions=True)
        assert long.cancelled()

    async def test_past_the_time_limit(
        self, engine: Engine, impatient: Engine, at_work: AtWork
    ) -> None:
        with pytest.raises(TimedOut) as caught:
            async with asyncio.timeout(PATIENCE_S):
                await impatient.generate([self.long])
        assert f"{IMPATIENT_S:g} s" in str(caught.value), "it does not say which limit"
        await self.rests(engine, at_work)
        await works(engine, self.together)

    async def test_a_stream_past_the_time_limit(
        self, engine: Engine, impatient: Engine, at_work: AtWork
    ) -> None:
        with pytest.raises(TimedOut):
            async with asyncio.timeout(PATIENCE_S):
                await streamed(impatient, self.long)
        await self.rests(engine, at_work)
        await works(engine, self.together)

    async def test_a_closed_engine_is_unavailable(self, spare: Engine, at_work: AtWork) -> None:
        """What is in flight ends, what comes afterwards is refused; the last test of all."""
        running: list[asyncio.Task[Any]] = [
            asyncio.create_task(spare.generate([self.long])),
        ]
        await self.busy(spare, at_work)
        running.append(asyncio.create_task(streamed(spare, prompt(max_tokens=100))))
        await spare.check()
        await spare.close()
        later: list[Awaitable[Any]] = [
            spare.generate([prompt()]),
            streamed(spare, prompt()),
            spare.check(),
        ]
        async with asyncio.timeout(PATIENCE_S):
            ends: Sequence[object] = await asyncio.gather(*running, *later, return_exceptions=True)
        for end in ends:
            assert isinstance(end, Unavailable), f"{end!r} of {ends}"
        await spare.close()
