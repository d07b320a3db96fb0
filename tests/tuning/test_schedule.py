from hypothesis import given
from hypothesis import strategies as st

from millrace.tuning.schedule import Schedule, batches, order, settle, tokens_after


def test_auto_settles_by_the_number_of_examples() -> None:
    """Few examples are read more often, within bounds; given numbers stay."""
    assert settle(200) == Schedule(epochs=3, batch_size=4, learning_rate_multiplier=1.0)
    assert settle(80).epochs == 6
    assert settle(10).epochs == 8
    assert settle(100_000).epochs == 3
    assert settle(3).batch_size == 3
    assert settle(200, 1, 16, 0.5) == Schedule(epochs=1, batch_size=16, learning_rate_multiplier=0.5)


@given(examples=st.integers(1, 40), epochs=st.integers(1, 5), seed=st.integers(0, 2**32 - 1))
def test_every_epoch_has_each_example_once(examples: int, epochs: int, seed: int) -> None:
    """The order is each epoch's examples shuffled, and the same for the same seed."""
    indices = order(examples, epochs, seed)
    cut = [indices[at : at + examples] for at in range(0, len(indices), examples)]
    assert [sorted(epoch) for epoch in cut] == [list(range(examples))] * epochs
    assert indices == order(examples, epochs, seed)


@given(lengths=st.lists(st.integers(1, 99), min_size=1, max_size=30), epochs=st.integers(1, 4), size=st.integers(1, 7))
def test_the_last_step_s_tokens_are_the_price(lengths: list[int], epochs: int, size: int) -> None:
    """Cumulative tokens rise with each step and end at the file's tokens times the epochs, whatever the batches."""
    plan = batches(order(len(lengths), epochs, 1), size)
    after = tokens_after(lengths, plan)
    assert len(after) == len(plan) + 1 == -(-len(lengths) * epochs // size) + 1
    assert after[0] == 0
    assert after == sorted(after)
    assert after[-1] == sum(lengths) * epochs


def test_another_seed_is_another_order() -> None:
    """The seed decides the order."""
    assert order(20, 1, 1) != order(20, 1, 2)
