"""Projections against certificates of optimality, steps against linear programs, random starts against their law."""

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.optimize import linprog, minimize
from scipy.stats import kstest

from gambeson.errors import UserError
from gambeson.geometry import Balls, distance, onto, onto_hyperplane, project, random_start, room_along, steepest
from gambeson.types import NORMS, Ball, Box

ORDER = {"linf": np.inf, "l2": 2, "l1": 1}


def problem(seed, size, eps, dtype=torch.float64, rows=1, spread=1.0):
    """Images with pixels inside the box and on its faces, and points in and out of ball and box."""
    draw = np.random.default_rng(seed)
    x = draw.uniform(0, 1, (rows, size))
    x[draw.random(x.shape) < 0.2] = 0.0
    x[draw.random(x.shape) < 0.2] = 1.0
    y = x + draw.normal(size=x.shape) * spread * max(eps, 0.05) * (draw.random(x.shape) < 0.8)
    return torch.tensor(x, dtype=dtype), torch.tensor(y, dtype=dtype)


def assert_inside(z, x, ball, box=None):
    box = box or Box()
    assert (distance(z.double() - x.double(), ball.norm) <= ball.eps).all()
    assert z.min() >= box.lower
    assert z.max() <= box.upper


def most(direction, x, norm, eps):
    """max <direction, w> over w in the l1 or linf ball around x and in [0, 1], by a linear program."""
    size = len(x)
    if norm == "linf":
        bounds = list(zip(np.maximum(x - eps, 0), np.minimum(x + eps, 1), strict=True))
        return -linprog(-direction, bounds=bounds).fun
    # w = x + up - down; the ball is sum(up + down) <= eps
    answer = linprog(
        np.concatenate([-direction, direction]),
        A_ub=np.ones((1, 2 * size)),
        b_ub=[eps],
        bounds=[*((0, 1 - v) for v in x), *((0, v) for v in x)],
    )
    return direction @ x - answer.fun


def assert_nearest(z, y, x, ball):
    """z = P(y) if and only if <y - z, w - z> <= 0 for every feasible w: exact for linf and l1 by a linear program."""
    z, y, x = (tensor.double().numpy().ravel() for tensor in (z, y, x))
    if ball.norm == "l2":
        found = minimize(
            lambda w: ((w - y) ** 2).sum(),
            x,
            jac=lambda w: 2 * (w - y),
            bounds=[(0, 1)] * len(x),
            constraints={
                "type": "ineq",
                "fun": lambda w: ball.eps**2 - ((w - x) ** 2).sum(),
                "jac": lambda w: 2 * (x - w),
            },
            method="SLSQP",
            options={"ftol": 1e-14, "maxiter": 500},
        )
        assert np.linalg.norm(z - y) <= np.linalg.norm(found.x - y) + 1e-7
        np.testing.assert_allclose(z, found.x, atol=1e-4)
    else:
        assert most(y - z, x, ball.norm, ball.eps) - (y - z) @ z <= 1e-9


@pytest.mark.parametrize("norm", NORMS)
@pytest.mark.parametrize("eps", [0.01, 0.3, 1.5])
def test_projection_is_the_nearest_point(norm, eps):
    for seed in range(15):
        x, y = problem(seed, 7, eps, spread=2.0)
        ball = Ball(norm, eps)
        z = project(y, x, ball)
        assert_inside(z, x, ball)
        assert_nearest(z, y, x, ball)


@settings(max_examples=150, deadline=None)
@given(
    norm=st.sampled_from(NORMS),
    eps=st.floats(1e-4, 4.0),
    size=st.integers(1, 40),
    seed=st.integers(0, 10**6),
    dtype=st.sampled_from([torch.float32, torch.float64]),
    spread=st.floats(0.0, 5.0),
)
def test_projection_inside_idempotent_and_nearer_than_any_feasible_point(norm, eps, size, seed, dtype, spread):
    x, y = problem(seed, size, eps, dtype, rows=3, spread=spread)
    ball = Ball(norm, eps)
    z = project(y, x, ball)
    assert z.dtype == dtype
    assert_inside(z, x, ball)
    assert torch.equal(project(z, x, ball), z)
    assert torch.equal(onto(x, ball)(y), z)
    reached = (z.double() - y.double()).norm(dim=1)
    for row in range(3):
        feasible = random_start(x, ball, keys=[seed + row] * 3).double()
        towards = z.double() + 0.01 * (feasible - z.double())  # convexity: feasible, and close enough to be a threat
        for other in (feasible, towards, x.double()):
            assert (reached <= (other - y.double()).norm(dim=1) + 1e-6).all()


@pytest.mark.parametrize("norm", NORMS)
def test_points_inside_stay_bit_for_bit(norm):
    x, _ = problem(1, 50, 1.0, torch.float32, rows=20)
    ball = Ball(norm, 0.5)
    y = x + 0.004 * (0.5 - x)
    assert torch.equal(project(y, x, ball), y)
    assert torch.equal(project(x, x, Ball(norm, 0.0)), x)
    assert torch.equal(project(y, x, Ball(norm, 0.0)), x)


@pytest.mark.parametrize("norm", NORMS)
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.bfloat16])
def test_inside_in_float64_at_the_border(norm, dtype):
    """Pixels on the 8-bit lattice and eps = 8/255: where sums in float32 leave the ball."""
    x = (torch.arange(256, dtype=torch.float64) / 255).to(dtype).repeat(4, 1)
    for eps in (8 / 255, 1 / 255, 0.1, 0.3, 3.0):
        ball = Ball(norm, eps)
        sign = torch.ones(256, dtype=dtype)
        sign[::2] = -1
        for y in (x + 8 / 255, x - eps, x + eps * sign, x + 10 * sign):
            assert_inside(project(y, x, ball), x, ball)


def test_large_images_and_other_boxes():
    x, y = problem(0, 150_528, 2.0, torch.float32, rows=2, spread=0.1)
    for norm, eps in (("l1", 40.0), ("l2", 3.0), ("linf", 4 / 255)):
        ball = Ball(norm, eps)
        z = project(y, x, ball)
        assert_inside(z, x, ball)
        assert (distance(z.double() - x.double(), norm) > 0.99999 * eps).all()
    box, ball = Box(-1.0, 2.0), Ball("l1", 3.0)
    z = project(x[:, :9] - 4.0, x[:, :9], ball, box)
    assert_inside(z, x[:, :9], ball, box)
    assert z.min() < 0


def test_clipping_to_the_ball_and_then_to_the_box_is_not_the_projection():
    """The mutant that common code ships: inside, but not nearest."""
    ball = Ball("l1", 0.5)
    x = torch.tensor([[0.9, 0.5, 0.5]], dtype=torch.float64)
    y = x + torch.tensor([[1.0, 0.3, 0.2]], dtype=torch.float64)
    clipped = (x + (y - x) * (ball.eps / (y - x).abs().sum())).clamp(0, 1)
    assert_inside(clipped, x, ball)
    with pytest.raises(AssertionError):
        assert_nearest(clipped, y, x, ball)
    assert_nearest(project(y, x, ball), y, x, ball)


@pytest.mark.parametrize("norm", NORMS)
def test_distance_is_numpys_norm_in_float64(norm):
    delta = torch.randn(5, 3, 4, 4, generator=torch.Generator().manual_seed(0))
    wanted = [np.linalg.norm(row.double().numpy().ravel(), ORDER[norm]) for row in delta]
    assert distance(delta, norm).dtype == torch.float64
    np.testing.assert_allclose(distance(delta, norm), wanted, rtol=1e-14)


@pytest.mark.parametrize("norm", ["linf", "l2"])
def test_steepest_reaches_the_dual_norm(norm):
    grad = torch.randn(8, 30, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    x = torch.full_like(grad, 0.5)
    step = steepest(grad, x, norm, 0.3)
    dual = grad.abs().sum(1) if norm == "linf" else grad.norm(dim=1)
    torch.testing.assert_close((grad * step).sum(1), 0.3 * dual)
    torch.testing.assert_close(distance(step, norm), torch.full((8,), 0.3, dtype=torch.float64))


def test_steepest_l1_is_the_linear_programs_optimum():
    for seed in range(20):
        x, _ = problem(seed, 9, 1.0)
        grad = torch.tensor(np.random.default_rng(seed + 99).normal(size=(1, 9)))
        for length in (0.05, 0.8, 2.5):
            step = steepest(grad, x, "l1", length)
            assert_inside(x + step, x, Ball("l1", length + 1e-12))
            g, origin = grad.numpy().ravel(), x.numpy().ravel()
            assert (grad * step).sum().item() == pytest.approx(most(g, origin, "l1", length) - g @ origin, abs=1e-9)


@pytest.mark.parametrize("norm", NORMS)
def test_zero_and_tiny_gradients_are_not_nan(norm):
    x = torch.full((2, 1, 3, 3), 0.5)
    assert torch.equal(steepest(torch.zeros_like(x), x, norm, 0.1), torch.zeros_like(x))
    tiny = steepest(torch.full_like(x, 1e-42), x, norm, 0.1)
    torch.testing.assert_close(distance(tiny, norm), torch.full((2,), 0.1, dtype=torch.float64), rtol=1e-6, atol=0)


def test_room_along():
    room = room_along(torch.tensor([[1.0, -2.0, 0.0, 1.0]]), torch.tensor([[0.25, 0.25, 0.25, 1.0]]))
    assert room.tolist() == [[0.75, 0.25, 0.0, 0.0]]


@pytest.mark.parametrize("norm", NORMS)
def test_random_start_is_uniform_in_the_ball(norm):
    x = torch.full((3000, 1, 1, 3), 0.5, dtype=torch.float64)
    delta = (random_start(x, Ball(norm, 0.4), keys=range(3000)) - x).flatten(1)
    # the volume of the ball of radius r grows as r^D: (||delta|| / eps)^D is uniform, and all octants are alike
    assert kstest((distance(delta, norm) / 0.4).numpy() ** 3, "uniform").pvalue > 1e-3
    assert (delta.mean(0).abs() < 0.02).all()
    octants = torch.bincount(((delta > 0).long() * torch.tensor([4, 2, 1])).sum(1), minlength=8)
    assert octants.min() > 3000 / 8 - 5 * math.sqrt(3000 / 8)


@pytest.mark.parametrize("norm", NORMS)
def test_random_start_depends_on_the_key_alone(norm):
    x, _ = problem(3, 16, 1.0, torch.float32, rows=6)
    ball, keys = Ball(norm, 0.7), [5, 8, 13, 21, 34, 55]
    whole = random_start(x, ball, keys=keys)
    assert_inside(whole, x, ball)
    parts = torch.cat(
        [random_start(x[rows], ball, keys=keys[rows]) for rows in (slice(0, 1), slice(1, 4), slice(4, 6))]
    )
    assert torch.equal(whole, parts)
    assert not torch.equal(whole, random_start(x, ball, keys=keys, restart=1))
    assert not torch.equal(whole, random_start(x, ball, keys=range(6)))


def test_wrong_number_of_keys():
    with pytest.raises(UserError, match="keys has 1 entries for 2 images"):
        random_start(torch.zeros(2, 3), Ball("l2", 1.0), keys=[1])


@pytest.mark.parametrize("norm", NORMS)
@pytest.mark.parametrize("seed", range(6))
def test_onto_hyperplane_is_the_shortest_way(norm, seed):
    """Against linear programs (l1, linf) and the optimality of a quadratic program (l2), box and all."""
    draw, size = np.random.default_rng(seed), 12
    x, _ = problem(seed, size, 0.3)
    w = torch.from_numpy(draw.normal(size=(1, size)) * (draw.random((1, size)) < 0.8))
    reach = torch.where(w > 0, 1 - x, -x).mul(w).sum(1)  # how far the box lets <w, d> go
    level = (w * x).sum(1) + reach * float(draw.uniform(0.1, 0.9))
    moved = onto_hyperplane(x, w, level, norm)
    assert ((x + moved) >= -1e-12).all()
    assert ((x + moved) <= 1 + 1e-12).all()
    torch.testing.assert_close((w * (x + moved)).sum(1), level)
    length = distance(moved, norm).item()
    assert length == pytest.approx(shortest(w[0].numpy(), x[0].numpy(), level.item(), norm), rel=1e-6)


def shortest(w, x, level, norm):
    size, missing = len(x), level - w @ x
    if norm == "l2":
        bounds = [(-v, 1 - v) for v in x]
        line = {"type": "eq", "fun": lambda d: w @ d - missing, "jac": lambda d: w}
        found = minimize(lambda d: d @ d, np.zeros(size), jac=lambda d: 2 * d, bounds=bounds, constraints=line,
                         method="SLSQP", options={"ftol": 1e-15, "maxiter": 1000})  # fmt: skip
        return found.fun**0.5
    if norm == "l1":  # d = up - down
        bounds = [*((0, 1 - v) for v in x), *((0, v) for v in x)]
        return linprog(np.ones(2 * size), A_eq=[np.concatenate([w, -w])], b_eq=[missing], bounds=bounds).fun
    sides = np.vstack([np.hstack([s * np.eye(size), -np.ones((size, 1))]) for s in (1, -1)])  # |d_i| <= t
    bounds = [*((-v, 1 - v) for v in x), (0, None)]
    equal = np.concatenate([w, [0.0]])[None]
    cost = np.zeros(size + 1)
    cost[-1] = 1
    return linprog(cost, A_ub=sides, b_ub=np.zeros(2 * size), A_eq=equal, b_eq=[missing], bounds=bounds).fun


@pytest.mark.parametrize("norm", NORMS)
def test_onto_hyperplane_out_of_reach_goes_to_the_corner(norm):
    x, w = torch.tensor([[0.5, 0.25, 0.1]]), torch.tensor([[1.0, -2.0, 0.0]])
    moved = onto_hyperplane(x, w, torch.tensor([9.0]), norm)
    torch.testing.assert_close(
        x.double() + moved, torch.tensor([[1.0, 0.0, 0.1]], dtype=torch.float64), atol=1e-7, rtol=0
    )
    assert (onto_hyperplane(x, torch.zeros_like(w), torch.tensor([1.0]), norm) == 0).all()


@pytest.mark.parametrize("norm", NORMS)
def test_a_ball_for_each_image(norm):
    x, y = problem(3, 10, 0.3, rows=3)
    whole = project(y, x, Balls(norm, torch.tensor([0.0, 0.2, 0.4])))
    for row, eps in enumerate((0.0, 0.2, 0.4)):
        one = slice(row, row + 1)
        torch.testing.assert_close(whole[one], project(y[one], x[one], Ball(norm, eps)))
