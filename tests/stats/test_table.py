"""Draws for a whole table: who goes on is a function of all counts, and stops where the table is known."""

import numpy as np
import pytest
from scipy.special import ndtr
from scipy.stats import betabinom, binom

from gambeson.errors import UserError
from gambeson.stats import Standing, Table, expected_in_rounds, forecast, plan, played, table
from gambeson.stats.prospects import prospects

GRID = ndtr(np.arange(0, 2.1, 0.5))
PLAN = plan(GRID, alpha=0.001, cap=10_000, price=None)
LAST = len(PLAN.looks) - 1


def made(images: int = 200, error: float = 0.02, rule: str = "group_sequential") -> Table:
    return table(PLAN, images, error, rule)


def probabilities(images: int, seed: int = 0) -> np.ndarray:
    return ndtr(np.random.default_rng(seed).normal(1.0, 1.0, images))


def drawn(ended: list[Standing]) -> np.ndarray:
    return np.array([0 if one.look < 0 else PLAN.looks[one.look] for one in ended])


def hope(whole: Table, one: Standing) -> float:
    """The expected number of thresholds that the last look decides, by the beta-binomial law."""
    if one.look == LAST:
        return 0.0
    law = betabinom(PLAN.looks[LAST] - PLAN.looks[one.look], one.misses + 0.5, PLAN.looks[one.look] - one.misses + 0.5)
    return sum(
        law.cdf(PLAN.certifies[t, LAST] - one.misses) + law.sf(whole.ruled_out[t, LAST] - one.misses - 1)
        for t in range(one.certified, one.possible)
    )


def test_a_standing_says_what_is_certified_and_what_is_ruled_out():
    whole = made()
    assert whole.begin() == Standing(-1, 0, 0, len(GRID))
    one = whole.after(whole.begin(), [0, 0, 0])
    assert one == Standing(2, 0, PLAN.level(2, 0), len(GRID))
    assert whole.after(whole.begin(), [100]) == Standing(0, 100, 0, 0)
    assert whole.after(whole.after(whole.begin(), [5]), [9, 14]) == whole.after(whole.begin(), [5, 9, 14])
    certified = whole.after(whole.begin(), [0] * 10)
    assert certified.certified == len(GRID)
    assert whole.after(certified, [1_000]).possible == len(GRID)  # a claim stays a claim


def test_undecided_is_what_lies_between():
    standings = [Standing(3, 0, 1, 3), Standing(3, 0, 0, 5), Standing(3, 0, 2, 2)]
    assert made().undecided(standings).tolist() == [1, 2, 2, 1, 1]


def test_everybody_takes_a_first_look():
    whole = made(50)
    assert whole.next_looks([whole.begin()] * 50) == [0] * 50


def test_rounds_know_counts_only_whatever_their_order():
    whole, generator = made(100), np.random.default_rng(1)
    standings, p, rounds = [whole.begin()] * 100, probabilities(100), 0
    while True:
        to, order = whole.next_looks(standings), generator.permutation(100)
        assert made(100).next_looks([standings[row] for row in order]) == [to[row] for row in order]
        assert all(one.look <= look <= LAST for one, look in zip(standings, to, strict=True))
        going = [row for row in range(100) if to[row] > standings[row].look]
        if not going:
            break
        rounds += 1
        for row in going:
            looks = np.array([0, *PLAN.looks])[standings[row].look + 1 : to[row] + 2]
            misses = standings[row].misses + generator.binomial(np.diff(looks), 1 - p[row]).cumsum()
            standings[row] = whole.after(standings[row], misses.tolist())
    assert 3 < rounds < 60
    assert drawn(standings).std() > 0


def test_it_ends_when_every_cell_is_known_and_not_before():
    whole = made(100, 0.02)
    clear, open_ = whole.after(whole.begin(), [100]), whole.after(whole.begin(), [10])
    assert open_.possible > open_.certified
    enough = [clear] * 98 + [open_] * 2
    assert whole.next_looks(enough) == [0] * 100
    more = whole.next_looks([clear] * 97 + [open_] * 3)
    assert more[:97] == [0] * 97
    assert min(more[97:]) > 0


def test_an_image_without_draws_left_or_without_hope_waits():
    whole = made(10, 0.0)
    at_cap = Standing(LAST, 500, 2, 4)
    near = Standing(LAST - 1, round(PLAN.looks[LAST - 1] * (1 - GRID[2])), 2, 3)  # a tenth of the draws will not tell
    far = Standing(LAST - 18, round(PLAN.looks[LAST - 18] * (1 - GRID[2])), 2, 3)
    assert whole.next_looks([at_cap, near]) == [LAST, LAST - 1]
    assert whole.next_looks([at_cap, near, far])[2] > LAST - 18


@pytest.mark.parametrize("rule", ["group_sequential", "beta_mixture"])
@pytest.mark.parametrize("error", [0.1, 0.03])
def test_cells_are_as_wide_as_asked_and_hold_the_truth(rule, error):
    whole, p = made(200, error, rule), probabilities(200, 2)
    ended = played(whole, p, np.random.default_rng(3))
    certified = np.array([sum(one.certified > t for one in ended) for t in range(len(GRID))])
    undecided = whole.undecided(ended)
    hopes = [hope(whole, one) for one in ended if (undecided > error * 200)[one.certified : one.possible].any()]
    assert max(hopes, default=0.0) < 0.12  # whoever is left in a cell that is too wide is left for good reason
    assert error < 0.1 or not hopes
    wrong = sum(
        (p[row] < GRID[: one.certified]).any() or (p[row] >= GRID[one.possible :]).any()
        for row, one in enumerate(ended)
    )
    assert wrong <= binom.isf(1e-6, 200, 2 * PLAN.alpha)
    truth = (p[:, None] >= GRID).sum(0)
    assert np.all(certified - wrong <= truth)
    assert np.all(truth <= certified + undecided + wrong)


def test_a_smaller_error_takes_more_and_a_table_less_than_every_image_for_itself():
    p = probabilities(100, 4)
    wide, narrow = (drawn(played(made(100, error), p, np.random.default_rng(0))).mean() for error in (0.1, 0.02))
    assert wide < narrow < np.mean([forecast(PLAN, value).draws for value in p])


def test_prospects_are_the_beta_binomial():
    draws = np.array([1_000, 3_000, 4_000])
    few, many = np.array([[5, 60, 90]]), np.array([[50, 140, 190]])
    for misses in (10, 20, 40, 49):
        found = prospects(0, np.array([misses]), draws, few, many)[0]
        for place, (low, high) in enumerate([(60, 140), (90, 190)]):
            law = betabinom(draws[place + 1] - 1_000, misses + 0.5, 1_000 - misses + 0.5)
            exact = law.cdf(low - misses) + law.sf(high - misses - 1)
            assert found[place] == pytest.approx(exact, abs=0.02)


def test_what_is_out_of_reach_has_no_prospects():
    draws = np.array([100, 150])
    assert prospects(0, np.array([10]), draws, np.array([[-1, 9]]), np.array([[101, 61]]))[0] == pytest.approx([0.0])
    assert prospects(0, np.array([10]), draws, np.array([[-1, 60]]), np.array([[101, 61]]))[0] == pytest.approx([1.0])


def test_it_is_foretold_from_a_few_draws():
    p, whole, generator = probabilities(400, 5), made(500, 0.02), np.random.default_rng(6)
    truth = drawn(played(whole, p, generator)).sum() / 500
    some = generator.choice(p, 51)
    right = np.arange(64) < 51  # four in five, as of the table's images
    hits = np.append(generator.binomial(100, some), [100] * 13)
    expected = expected_in_rounds(whole, hits, 100, right)
    assert truth / 2 < expected < truth * 2
    assert expected_in_rounds(whole, hits, 100, right) == expected
    assert expected_in_rounds(whole, hits, 100, np.zeros(64, dtype=bool)) == 0


@pytest.mark.parametrize("error", [-0.1, 1.0, float("nan")])
def test_an_error_is_a_share(error):
    with pytest.raises(UserError, match=r"table error is .*; it must be a share of the images, 0 <= error < 1"):
        made(10, error)
