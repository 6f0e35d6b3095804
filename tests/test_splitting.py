"""Splitting noise on the pixel lattice: the certificate for *every* base classifier, by enumeration."""

from itertools import product
from math import isclose

import numpy as np
import pytest
import torch

from gambeson.certificates.vote_margin import vote_margin
from gambeson.errors import UserError
from gambeson.keys import generator
from gambeson.noise import Lattice, Noise, draw, lattice, noisy, parse
from gambeson.noise.splitting import offsets

# levels, half-width, values of an image: cells narrower than, as wide as and wider than the range of a value
SMALL = [(2, 0.5, 2), (2, 0.75, 2), (3, 0.34, 2), (3, 0.5, 2), (4, 1.0, 2), (2, 0.5, 3), (5, 0.3, 1), (4, 2.0, 1)]


def every_image(levels: int, values: int) -> np.ndarray:
    return np.array(list(product(range(levels + 1), repeat=values)), np.int16).reshape(-1, 1, 1, values)


def copies(grid: Lattice, images: np.ndarray) -> np.ndarray:
    """All noisy copies, as sampling asks for them: (images, states, values)."""
    assert grid.states is not None
    return np.stack([grid.block(image, (), 0, grid.states) for image in images]).reshape(len(images), grid.states, -1)


def distances(images: np.ndarray) -> np.ndarray:
    """l1, in lattice steps, between all pairs."""
    flat = images.reshape(len(images), -1).astype(int)
    return np.abs(flat[:, None] - flat[None]).sum(-1)


@pytest.mark.parametrize(("levels", "half_width", "values"), SMALL)
def test_no_more_copies_differ_than_the_images_are_steps_apart(levels: int, half_width: float, values: int) -> None:
    grid, images = lattice(Noise("splitting", half_width), levels), every_image(levels, values)
    seen = copies(grid, images)
    differ = (seen[:, None] != seen[None]).any(-1).sum(-1)
    assert (differ <= distances(images)).all()
    alone = (np.abs(images[:, None].astype(int) - images[None]) > 0).sum((-1, -2, -3)) == 1
    assert grid.states is not None
    assert (differ == np.minimum(distances(images), grid.states))[alone].all()  # and not fewer, in one value


def broken(seen: np.ndarray, apart: np.ndarray, classes: int, margin_of) -> tuple[int, int]:
    """Over *all* base classifiers, tables from noisy image to class: pairs of images within the margin (and one step
    beyond it) whose winners differ.
    """
    points, number = np.unique(seen.reshape(-1, seen.shape[-1]), axis=0, return_inverse=True)
    number = number.reshape(seen.shape[:2])
    inside = beyond = 0
    tables = np.array(list(product(range(classes), repeat=len(points))), np.int8)
    votes = np.stack(
        [(tables[:, number] == label).sum(-1) for label in range(classes)], -1
    )  # (tables, images, classes)
    winners = votes.argmax(-1)
    margins = np.array([margin_of(row) for row in votes.reshape(-1, classes)]).reshape(winners.shape)
    other = winners[:, :, None] != winners[:, None, :]
    inside += int((other & (apart[None] <= margins[:, :, None])).sum())
    beyond += int((other & (apart[None] == margins[:, :, None] + 1)).sum())
    return inside, beyond


TINY = [(2, 0.5, 1, 3), (3, 0.34, 1, 3), (3, 0.67, 1, 3), (1, 1.0, 2, 2), (1, 1.5, 2, 2), (1, 1.0, 2, 3)]


@pytest.mark.parametrize(("levels", "half_width", "values", "classes"), TINY)
def test_no_base_classifier_breaks_the_certificate_and_some_break_one_step_more(
    levels: int, half_width: float, values: int, classes: int
) -> None:
    images = every_image(levels, values)
    seen = copies(lattice(Noise("splitting", half_width), levels), images)
    inside, beyond = broken(seen, distances(images), classes, lambda votes: vote_margin(votes).margin)
    assert inside == 0
    assert beyond > 0


def careless(votes: np.ndarray) -> int:
    """The margin without the rule for ties."""
    first = int(votes.argmax())
    return int(votes[first] - np.delete(votes, first).max()) // 2


def test_the_enumeration_finds_a_margin_that_forgets_ties() -> None:
    images = every_image(3, 1)
    seen = copies(lattice(Noise("splitting", 0.67), 3), images)
    assert broken(seen, distances(images), 3, careless)[0] > 0


def test_the_enumeration_finds_thresholds_that_do_not_take_turns() -> None:
    """The mutant: random thresholds for every state, where one step may change many copies."""
    images, states = every_image(3, 1), 4
    cuts = generator("mutant").integers(0, states, states)
    seen = np.stack([(image.ravel()[0] >= cuts).astype(int) * states + cuts for image in images])[..., None]
    assert broken(seen, distances(images), 3, lambda votes: vote_margin(votes).margin)[0] > 0


@pytest.mark.parametrize(("levels", "half_width", "values"), [*SMALL, (255, 0.75, 3), (255, 0.1, 3), (16, 10.0, 2)])
def test_a_noisy_value_is_the_middle_of_its_cell(levels: int, half_width: float, values: int) -> None:
    """Against thresholds that are looked for one by one."""
    grid = lattice(Noise("splitting", half_width), levels)
    states = round(2 * half_width * levels)
    assert (grid.states, grid.unit, grid.tau) == (states, 2 * levels, 0.0)
    image = generator("cells", levels).integers(0, levels + 1, (1, 1, values)).astype(grid.dtype)
    found = copies(grid, image[None])[0]
    for state in range(0, states, max(1, states // 40)):
        for value, pixel in enumerate(image.ravel().tolist()):
            least = pixel
            while least % states != (int(offsets(states, (1, 1, values)).ravel()[value]) + state) % states:
                least -= 1
            cell = [k for k in range(least, least + states) if 0 <= k <= levels]
            assert pixel in cell
            assert found[state, value] == min(cell) + max(cell)


def test_states_come_in_blocks_like_any_draws() -> None:
    grid, image = lattice(parse("splitting:0.4"), 255), every_image(1, 4)[5] * 200
    whole = grid.block(image, ("any",), 0, 204)
    parts = [grid.block(image, ("other", 1), number, 100) for number in range(3)]
    assert np.array_equal(np.concatenate(parts)[:204], whole)
    assert np.array_equal(np.concatenate(parts)[204:], whole[:96])  # and begin again
    assert whole.dtype == np.int16
    assert lattice(parse("splitting:0.4"), 2**16 - 1).dtype == np.int32


def test_offsets_are_fixed_spread_and_not_shared_by_neighbours() -> None:
    found = offsets(382, (1, 28, 28))
    assert np.array_equal(found, offsets.__wrapped__(382, (1, 28, 28)))
    assert 0 <= found.min() < 10
    assert 370 < found.max() < 382
    assert abs(np.corrcoef(found[0, 1:].ravel(), found[0, :-1].ravel())[0, 1]) < 0.15


def test_offsets_are_these_with_every_version_of_the_libraries() -> None:
    """They are the certified function: others would be another one of the same name."""
    assert offsets(382, (1, 28, 28)).ravel()[:8].tolist() == [290, 247, 371, 48, 263, 146, 195, 66]
    assert offsets(17, (3, 1, 3)).ravel().tolist() == [3, 9, 10, 10, 5, 2, 4, 12, 7]


@pytest.mark.parametrize("name", ["splitting:0.001", "splitting:0.0029"])
def test_cells_of_one_integer_are_refused(name: str) -> None:
    with pytest.raises(UserError, match=r"cells of [01] integers.*half-width of 0\.0039"):
        lattice(parse(name), 255)


@pytest.mark.parametrize("half_width", [0.2, 0.5, 0.75, 3.0])
def test_real_valued_cells_differ_as_often_as_values_are_apart(half_width: float) -> None:
    """P(two values x < y fall into different cells) = (y - x) / 2s, up to 1."""
    noise, source = Noise("splitting", half_width), torch.Generator().manual_seed(0)
    drawn = draw(noise, (200_000,), source, "cpu", torch.float64)
    assert 0 <= drawn.min() < 0.01 * half_width
    assert 1.99 * half_width < drawn.max() < 2 * half_width
    for x, y in ((0.3, 0.35), (0.1, 0.6), (0.0, 1.0)):
        one, other = (noisy(noise, torch.full_like(drawn, value), drawn) for value in (x, y))
        assert 0 <= one.min() <= other.max() <= 1
        share, expected = float((one != other).double().mean()), min(1.0, (y - x) / (2 * half_width))
        assert abs(share - expected) < 5 * (0.25 / 200_000) ** 0.5


@pytest.mark.parametrize("name", ["splitting:0.2", "splitting:0.75", "splitting:3"])
def test_what_attacks_see_is_what_is_certified(name: str) -> None:
    """The thresholds of random states, real-valued: the lattice's copies, but for a level at cell ends."""
    grid, image = lattice(parse(name), 255), generator("attack").integers(0, 256, (1, 4, 4)).astype(np.int16)
    assert grid.states is not None
    seen = copies(grid, image[None])[0].reshape(grid.states, 1, 4, 4) / grid.unit
    thresholds = torch.from_numpy(grid.sample((60, 1, 4, 4), generator("states"))) / 255
    attacked = noisy(parse(name), torch.from_numpy(image).double() / 255, thresholds).numpy()
    nearest = np.abs(attacked[:, None] - seen[None]).max((2, 3, 4)).min(1)
    assert (nearest < 1.5 / 255).all()


def test_gradients_pass_as_if_values_had_been_moved() -> None:
    x = torch.rand(5, requires_grad=True)
    noisy(parse("splitting:0.5"), x, torch.rand(5)).sum().backward()
    assert x.grad is not None
    assert all(isclose(value, 1) for value in x.grad.tolist())
