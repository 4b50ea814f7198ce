"""Which prompt is known to be the next by length, while engines of any speed still draw."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from artifact.actors.arrivals import Arrivals
from artifact.train.rollouts import Completion


def response(length: int) -> Completion:
    return Completion(np.full(length, length, dtype=np.int32), np.zeros(length, dtype=np.float32), "stop")


def test_a_prompt_waits_for_every_engine_that_could_still_finish_a_shorter_one() -> None:
    """Two engines, three prompts of two responses: prompts 0 and 2 on engine 0, prompt 1 on engine 1."""
    made = Arrivals(3, 2, 2)
    made.say(0, 3, [(2, response(2)), (3, response(3))])
    assert made.known() == [], "engine 1 has said nothing: its prompt may have a single token"
    made.say(1, 2, [])
    assert made.known() == [], "its responses have two tokens or more, prompt 2 has three"
    made.say(1, 3, [])
    assert made.known() == [2], "the responses under way have three tokens and get a fourth"
    made.say(0, 9, [(1, response(9)), (0, response(5))])
    assert made.known() == [] and [len(c.ids) for c in made.group(0)] == [5, 9]
    made.say(1, 9, [(0, response(9))])
    assert made.known() == [0], "of nine tokens too, and prompt 1 will have ten"
    made.say(1, 9, [(1, response(12))])
    assert made.known() == [1] and made.known() == []


@given(st.data())
def test_whatever_the_speeds_are_prompts_come_by_length(data: st.DataObject) -> None:
    """Engines decode a token of all their responses at a time, in an order that is drawn: as sorted afterwards."""
    engines, n = data.draw(st.integers(1, 3)), data.draw(st.integers(1, 3))
    lengths = data.draw(st.lists(st.lists(st.integers(1, 6), min_size=n, max_size=n), min_size=1, max_size=6))
    made, at = Arrivals(len(lengths), n, engines), [0] * engines
    found: list[int] = []
    queue = {k: dict(enumerate(m for i in range(k, len(lengths), engines) for m in lengths[i])) for k in range(engines)}
    while any(queue.values()):
        k = data.draw(st.sampled_from([k for k, open_ in queue.items() if open_]))
        at[k] += 1
        done = [(r, response(m)) for r, m in queue[k].items() if m == at[k]]
        for r, _ in done:
            del queue[k][r]
        speaks: bool = data.draw(st.booleans())
        if done or speaks:
            made.say(k, at[k], done)
            found += made.known()
    assert found == sorted(range(len(lengths)), key=lambda i: (max(lengths[i]), i))
    assert [[len(c.ids) for c in made.group(i)] for i in range(len(lengths))] == lengths


def test_a_prompt_that_is_not_finished_has_no_group() -> None:
    with pytest.raises(KeyError):
        Arrivals(1, 1, 1).group(0)
