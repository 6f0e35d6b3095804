"""What attacks see of a smoothed classifier: draws that are really several."""

import torch

from gambeson.evaluation.target import target_of

NOISE = {"noise": "gaussian:0.2", "predict_draws": 200, "predict_alpha": 0.001}


def seen(trained, redraw: bool):
    target = target_of(
        trained.model, trained.data, classes=3, seed=0, form=None, draws=3, redraw=redraw, **NOISE
    )  # fmt: skip
    return target.seen([5, 7], trained.data.pixels([5, 7]))


def test_no_two_draws_of_one_image_or_of_two_are_alike(trained) -> None:
    noise = seen(trained, redraw=False).noise
    flat = noise.flatten(2).flatten(0, 1)
    assert flat.shape[0] == 2 * 3
    assert abs(flat.std() - 0.2) < 0.02
    alike = (flat[:, None] == flat[None]).float().mean(2)
    assert alike[~torch.eye(6, dtype=torch.bool)].max() < 0.1  # of the lattice's values, some meet by chance


def test_they_stay_from_call_to_call_unless_they_are_redrawn(trained) -> None:
    x = trained.data.pixels([5, 7])
    with torch.no_grad():
        for redraw in (False, True):
            logits = seen(trained, redraw)
            assert torch.equal(logits(x), logits(x)) is not redraw
            assert torch.equal(seen(trained, redraw)(x), seen(trained, redraw)(x))  # by their keys alone
