"""Validation splits partition the training part, whatever the order of its rows."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from gambeson.data import load
from gambeson.data.split import split
from gambeson.errors import UserError


@settings(max_examples=25, deadline=None)
@given(validation=st.integers(0, 1436), seed=st.integers(-5, 10**9))
def test_train_and_validation_partition_the_training_part(validation, seed):
    whole = load("digits", "train")
    kept, held = split(whole, validation=validation, seed=seed)
    assert (len(kept), len(held)) == (1438 - validation, validation)
    together = torch.cat([kept.indices, held.indices]).sort().values
    assert torch.equal(together, whole.indices)


def test_membership_does_not_depend_on_the_order_of_the_rows(toy):
    data = toy(60)
    order = torch.randperm(60, generator=torch.Generator().manual_seed(1))
    first, second = (split(part, validation=20, seed=3)[1] for part in (data, data.subset(order)))
    assert set(first.indices.tolist()) == set(second.indices.tolist())


def test_seeds_differ_and_repeat_and_sizes_nest(toy):
    def held(validation: int, seed: int) -> set[int]:
        return set(split(toy(60), validation=validation, seed=seed)[1].indices.tolist())

    assert held(20, 0) == held(20, 0) != held(20, 1)
    assert held(10, 0) < held(20, 0)


def test_rows_keep_order_hashes_and_say_what_they_are(toy):
    data = toy(60)
    kept, held = split(data, validation=20, seed=0)
    assert held.indices.tolist() == sorted(held.indices.tolist())
    assert held.hashes() == [data.hashes()[row] for row in held.indices]
    assert (kept.split, held.split) == ("train", "validation")


def test_load_gives_both_parts_and_leaves_the_test_part_alone():
    kept, held = (load("digits", part, validation=100, seed=7) for part in ("train", "validation"))
    assert torch.equal(torch.cat([kept.indices, held.indices]).sort().values, load("digits", "train").indices)
    test = [load("digits", "test", validation=count, seed=count).fingerprint for count in (0, 100)]
    assert test[0] == test[1]
    assert not set(test[0:1]) & {kept.fingerprint, held.fingerprint}


@pytest.mark.parametrize("validation", [-1, 12, 13])
def test_refuses_a_size_that_leaves_nothing(toy, validation):
    with pytest.raises(UserError, match=f"validation is {validation}; it must be 0 to 11"):
        split(toy(), validation=validation, seed=0)


def test_refuses_to_divide_the_test_part(toy):
    with pytest.raises(UserError, match="only the train split"):
        split(toy(split="test"), validation=1, seed=0)


def test_an_empty_validation_split_is_refused():
    with pytest.raises(UserError, match="validation=N"):
        load("digits", "validation")
