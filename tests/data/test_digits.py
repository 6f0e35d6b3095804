"""The embedded digits: what the publisher published, and our split of it."""

import torch

from gambeson.data import load


def test_counts_of_the_whole_set_are_the_publishers():
    both = [load("digits", split) for split in ("train", "test")]
    assert [len(part) for part in both] == [1438, 359]
    # class counts in the UCI description of the test part (optdigits.names)
    counts = sum(part.labels.bincount() for part in both)
    assert counts.tolist() == [178, 182, 177, 183, 181, 182, 181, 179, 174, 180]


def test_the_split_is_one_of_five_and_a_partition():
    train, test = load("digits", "train"), load("digits", "test")
    assert test.indices.tolist() == [row for row in range(1797) if row % 5 == row // 5 % 5]
    assert test.labels.bincount().min() >= 30
    assert torch.cat([train.indices, test.indices]).sort().values.tolist() == list(range(1797))


def test_levels_are_16():
    data = load("digits", "train")
    assert data.levels == 16
    assert (data.images.min(), data.images.max()) == (0, 16)
    assert data.pixels().max() == 1


def test_first_row_is_the_publishers_first_zero():
    # the first line of optdigits.tes
    line = "0,0,5,13,9,1,0,0,0,0,13,15,10,15,5,0,0,3,15,2,0,11,8,0,0,4,12,0,0,8,8,0,0,5,8,0,0,9,8,0,0,4,11,0,1,12,7,0,"
    line += "0,2,14,5,10,12,0,0,0,0,6,13,10,0,0,0,0"
    *pixels, label = map(int, line.split(","))
    first = load("digits", "test")
    assert first.images[0].flatten().tolist() == pixels
    assert int(first.labels[0]) == label
