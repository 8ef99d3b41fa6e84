"""A user's view: a program that streams from a model, tested with the engine alone; a planted bug is found."""

from __future__ import annotations

from cloud.llm import AsyncOpenAICompatClient, LLMError
from transports.testing.simulation import SimulatedTransport, simulate


def client_over(transport: SimulatedTransport) -> AsyncOpenAICompatClient:
    return AsyncOpenAICompatClient(api_key="key-1", model="m", base_url="https://sim.test/v1", transport=transport)


async def careful(transport: SimulatedTransport) -> tuple[str, bool]:
    """Prints a story as it comes; says whether it is whole."""
    story = ""
    try:
        async for piece in client_over(transport).chat_stream([{"role": "user", "content": "A story, please."}]):
            story += piece
    except LLMError:
        return story, False
    return story, True


async def careless(transport: SimulatedTransport) -> tuple[str, bool]:
    """The same with the bug: whatever came is taken for the whole story."""
    return (await careful(transport))[0], True


def lies(app) -> list[int]:
    """Seeds in which the program calls a story whole that is not what the server said in the end."""
    found = []
    for seed in range(60):
        run = simulate(app, seed)
        assert run.error is None
        story, whole = run.result
        last = run.said[-1] if run.said else None
        if whole and (last is None or (last.exact and story != last.text)):
            found.append(seed)
    return found


def test_the_engine_finds_the_bug_and_nothing_else() -> None:
    assert not lies(careful)
    assert lies(careless)


def test_a_program_can_be_replayed() -> None:
    assert simulate(careful, 7).digest == simulate(careful, 7).digest
    assert simulate(careful, 7, without=frozenset({"cut_after_content"})).seed == 7
