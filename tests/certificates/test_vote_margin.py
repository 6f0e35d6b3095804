"""The margin of a vote against every way in which voters can change their minds."""

from itertools import product

import numpy as np
import pytest

from gambeson.certificates.splitting_l1 import splitting_l1
from gambeson.certificates.vote_margin import vote_margin
from gambeson.errors import UserError


def after_changes(counts: list[int], changes: int) -> set[int]:
    """Every winner there can be after exactly so many voters, each for one class, changed to another."""
    frontier = {tuple(counts)}
    for _ in range(changes):
        frontier = {
            tuple(np.add(votes, np.eye(len(votes), dtype=int)[to] - np.eye(len(votes), dtype=int)[of]))
            for votes in frontier
            for of, to in product(range(len(votes)), repeat=2)
            if votes[of]
        }
    return {int(np.argmax(votes)) for votes in frontier}


@pytest.mark.parametrize("classes", [2, 3, 4])
def test_no_fewer_voters_can_change_the_winner_and_one_more_can(classes: int) -> None:
    lost = 0
    for counts in product(range(6), repeat=classes):
        winner = vote_margin(list(counts))
        assert winner.label == np.argmax(counts)
        for changes in range(winner.margin + 1):
            assert after_changes(list(counts), changes) == {winner.label}
        if sum(counts):  # without any vote, nobody can change one
            assert after_changes(list(counts), winner.margin + 1) != {winner.label}
            lost += 1
    assert lost == 6**classes - 1


def test_it_is_the_published_formula_of_the_runner_up() -> None:
    generator = np.random.default_rng(0)
    for counts in generator.integers(0, 12, (3000, 5)):
        order = np.argsort(-counts, kind="stable")
        first, second = int(order[0]), int(order[1])
        expected = int((counts[first] - counts[second] - (second <= first)) / 2)
        assert vote_margin(counts) == (first, expected)


# Votes and l1 radii (in steps of 1/255) of CIFAR-10 images 1 and 37 at lambda = 0.5, 2 and 3.5 times sqrt(3), published
# with the paper at github.com/alevine0/smoothingSplittingNoise.
PUBLISHED = [
    ([0, 0, 0, 0, 0, 0, 0, 0, 441, 0], 8, 220),
    ([0, 54, 0, 0, 0, 0, 0, 0, 0, 387], 9, 166),
    ([0, 45, 0, 0, 0, 0, 0, 0, 1707, 14], 8, 830),
    ([37, 319, 0, 0, 0, 0, 0, 0, 46, 1364], 9, 522),
    ([0, 62, 0, 0, 0, 0, 0, 0, 2832, 197], 8, 1317),
    ([0, 459, 0, 0, 0, 0, 0, 0, 208, 2424], 9, 982),
]


@pytest.mark.parametrize(("counts", "label", "steps"), PUBLISHED)
def test_published_counts_give_the_published_radius(counts: list[int], label: int, steps: int) -> None:
    assert vote_margin(counts) == (label, steps)


def test_it_is_the_real_valued_certificate_in_lattice_steps() -> None:
    """Never above it, and less than a step below: a tie's and the rounding's."""
    generator = np.random.default_rng(1)
    for _ in range(2000):
        counts = generator.multinomial(382, generator.dirichlet([0.3] * 4))
        label, margin = vote_margin(counts)
        rest = np.delete(counts, label).max()
        real = splitting_l1(counts[label] / 382, rest / 382, 191 / 255) * 255
        assert real - 1 - 1e-9 <= margin <= real + 1e-9


@pytest.mark.parametrize("counts", [[], [3], [1.0, 2.0], [3, -1], [[1, 2], [3, 4]]])
def test_what_is_no_vote_is_refused(counts: list) -> None:
    with pytest.raises(UserError, match="counts = "):
        vote_margin(counts)
