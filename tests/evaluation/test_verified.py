"""Honest claims stand on fresh noise; those that are too high do not."""

from dataclasses import replace

import pytest
from scipy.stats import binom

from gambeson.evaluation import certified
from gambeson.evaluation.smoothing import smooth
from gambeson.evaluation.verified import on_fresh_noise
from gambeson.inference import Form

SMALL = {"noise": "gaussian:0.3", "draws": 2_000, "select_draws": 50, "alpha": 0.01}


GRID = {"radii": [0.0, 0.1, 0.2], "price": 1e5}
KINDS = {"fixed": {}, "grid": GRID, "beta_mixture": {**GRID, "rule": "beta_mixture"}, "soft": {"smoothing": "soft"}}


@pytest.fixture(params=KINDS)
def evidence(request, trained):
    data = trained.data.subset(range(25))
    evaluation = certified(trained.model, data, **KINDS[request.param], **SMALL)
    smoothed = smooth(trained.model, data, noise="gaussian:0.3", seed=0, form=None, classes=3)
    return smoothed, data, list(evaluation)


def test_honest_records_stand(evidence) -> None:
    smoothed, data, records = evidence
    claims = [(row, r) for row, r in enumerate(records) if r["predict"] != -1]
    images = data.pixels([row for row, _ in claims])
    verdict, rejected = on_fresh_noise(smoothed, images, [r for _, r in claims], draws=2_000, alpha=0.01, seed=1)
    assert verdict.stands
    assert (verdict.rejected, rejected) == (0, [])
    assert verdict.images > 15


def test_claims_that_are_too_high_fall_on_fresh_noise(evidence) -> None:
    """A model that was swapped, noise that was weaker: whatever made the claims, they do not hold here."""
    smoothed, data, records = evidence
    liars = [{**r, "p_lower": 0.999} for r in records if r["p_lower"] < 0.97]
    assert len(liars) >= 3
    rows = [row for row, r in enumerate(records) if r["p_lower"] < 0.97]
    verdict, rejected = on_fresh_noise(smoothed, data.pixels(rows), liars, draws=5_000, alpha=0.001, seed=2)
    assert not verdict.stands
    assert len(rejected) == verdict.rejected > verdict.allowed


@pytest.mark.parametrize("most", [None, 1.0])
@pytest.mark.parametrize(("images", "alpha"), [(1, 1e-9), (25, 0.01), (100, 0.001)])
def test_sound_claims_fail_as_rarely_as_stated(trained, images, alpha, most) -> None:
    """Each is rejected with probability alpha, half as much for an upper bound, and beta / images for a fresh bound."""
    smoothed = smooth(trained.model, trained.data, noise="gaussian:0.3", seed=0, form=None, classes=3)
    said = {"index": 0, "selected": 0, "p_lower": 0.0, "p_upper_two_sided": most, "radii": {"gaussian_l2": 0.0}}
    pixels, silent = trained.data.pixels([0] * images), [said] * images
    verdict, _ = on_fresh_noise(smoothed, pixels, silent, draws=100, alpha=alpha)
    chance = (alpha if most is None else 1.5 * alpha) + 2 * verdict.beta / images
    assert (verdict.images, verdict.claims, verdict.rejected) == (images, 0, 0)
    assert binom.sf(verdict.allowed, images, chance) <= verdict.level < binom.sf(verdict.allowed - 1, images, chance)


def test_upper_bounds_that_are_too_low_fall_too_even_where_the_record_abstains(trained) -> None:
    """Votes that were left out: the two-sided radius is all that gains by it."""
    data = trained.data.subset(range(25))
    records = list(certified(trained.model, data, **{**SMALL, "noise": "gaussian:1"}))
    smoothed = smooth(trained.model, data, noise="gaussian:1", seed=0, form=None, classes=3)
    assert on_fresh_noise(smoothed, data.pixels(), records, draws=2_000, alpha=0.01, seed=3)[0].stands
    liars = [{**record, "p_upper_two_sided": 1e-4, "predict": -1} for record in records]
    verdict, rejected = on_fresh_noise(smoothed, data.pixels(), liars, draws=2_000, alpha=0.01, seed=3)
    assert not verdict.stands
    others = {record["index"] for record in records if max(record["counts"]) < 0.95 * 2_000}
    assert len(others) > 5
    assert others <= set(rejected)


def test_without_a_seed_the_noise_is_new(evidence) -> None:
    smoothed, data, records = evidence
    seeds = {on_fresh_noise(smoothed, data.pixels([0]), records[:1], draws=10, alpha=0.01)[0].seed for _ in range(3)}
    assert len(seeds) == 3


def test_where_rows_differ_the_draws_fill_whole_calls(trained) -> None:
    data = trained.data.subset(range(3))
    records = list(certified(trained.model, data, **SMALL))
    form = Form("float32", "contiguous", 30)
    smoothed = smooth(trained.model, data, noise="gaussian:0.3", seed=0, form=form, classes=3)
    smoothed = replace(smoothed, base=replace(smoothed.base, positions="mixture"))
    verdict, _ = on_fresh_noise(smoothed, data.pixels(), records, draws=1_000, alpha=0.01, seed=1)
    assert verdict.draws == 1_020
    assert smoothed.predict(data.pixels([0])[0], index=0, draws=1_000, alpha=0.001, purpose="rejudge")[1].draws == 1_020
