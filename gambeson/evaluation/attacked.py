"""Accuracy under attack: every image's worst case, of the base model or of the smoothed classifier."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
from torch import Tensor

from gambeson.attacks import ATTACKS
from gambeson.attacks.steps import STEP_RULES
from gambeson.data import Dataset, Pairs, examples
from gambeson.errors import UserError, nearest
from gambeson.evaluation.one_attack import first_step, run, targets_of
from gambeson.evaluation.plan import Evaluation, inspect
from gambeson.evaluation.smoothing import smooth
from gambeson.evaluation.work import at_once
from gambeson.geometry import distance
from gambeson.inference import Form
from gambeson.keys import generator, key
from gambeson.models.modes import device_of, evaluating, frozen
from gambeson.noise import noisy
from gambeson.records import fingerprint
from gambeson.smoothed.budgets import predict_budget
from gambeson.smoothed.hard import Smoothed
from gambeson.smoothed.soft import soft
from gambeson.types import NORMS, Ball, Classifier, Labels, Norm

Keep = Callable[[Tensor, Tensor, Tensor], None]  # (indices, x, x_adv) of every finished batch


def attacked(
    model: Classifier,
    data: Pairs,
    *,
    eps: float,
    norm: Norm = "linf",
    attack: str = "pgd",
    steps: int = 20,
    step_size: float | None = None,
    step_rule: str | None = None,
    loss: str = "cross_entropy",
    restarts: int = 1,
    random_start: bool = True,
    early_stop: bool | None = None,
    targeted: str | Labels | None = None,
    noise: str | None = None,
    attack_draws: int = 16,
    predict_draws: int = 1000,
    predict_alpha: float = 0.001,
    seed: int = 0,
    form: Form | None = None,
    batch: int | None = None,
    keep: Keep | None = None,
) -> Evaluation:
    """Attack `model` on every image and judge anew what the attack returns.

    eps, step_size: in [0, 1] pixel units and in `norm`; step_size None is eps / 10. targeted: None, "random",
    "least_likely", or a class per image, int64 (N,) in the order of `data`; success then means that class. noise
    (kind:scale) attacks the smoothed classifier instead of the base model: the attack sees the log of the mean
    softmax over `attack_draws` fixed draws per image (Salman et al. 2019), and what it returns is judged by
    PREDICT with `predict_draws` fresh draws at `predict_alpha`, which may abstain (predict -1, not correct); splitting
    noise is judged by every noisy copy and never abstains.
    early_stop: leave an image alone once it fools what the attack sees; None: yes for the base model, no for the
    smoothed classifier, where fooling a few draws says little about the vote, and the largest loss counts. keep:
    called with (indices, x, x_adv) of every finished batch, before its records come out. Records hold
    predict_clean, predict, correct, success, loss, distance (float64, in `norm`), distances (in every norm). No
    default of an attack is left out of `settings`: an evaluation without them cannot be written.
    """
    data = examples(data)
    batch = batch or (250 if noise is None else 50)
    if attack not in ATTACKS:
        raise UserError(f"attack is {attack!r}; {nearest(attack, ATTACKS)}")
    ball = Ball(norm, eps)
    if norm == "linf" and eps > 1:
        raise UserError(f"eps is {eps}; in linf, 1 reaches every image there is (write 8/255, not 8)")
    if attack == "fgsm":  # one step from the image itself: what it does not do is not recorded either
        if restarts != 1:
            raise UserError(f"restarts is {restarts}; fgsm takes one step from the image: it must be 1 (or attack pgd)")
        steps, early_stop = 1, True
    options: dict[str, Any] = {
        "steps": steps,
        "step_size": (eps if attack == "fgsm" else eps / 10) if step_size is None else step_size,
        "step_rule": (step_rule if attack != "fgsm" else None) or ("sign" if norm == "linf" else "normalised"),
        "loss": loss,
        "restarts": restarts,
        "random_start": random_start and attack != "fgsm",
        "early_stop": noise is None if early_stop is None else early_stop,
    }
    if noise is not None:
        predict_budget(predict_draws, predict_alpha)
        if attack_draws < 1:
            raise UserError(f"attack_draws is {attack_draws}; it must be at least 1")
    classes, flags = inspect(model, data)
    smoothed = None if noise is None else smooth(model, data, noise=noise, seed=seed, form=form, classes=classes)
    if smoothed is not None:
        smoothed.fills_rows(predict_draws, predict_alpha, "predict_")
        if smoothed.noise.states is not None:  # every noisy copy is counted
            predict_draws, predict_alpha = smoothed.noise.states, 0.0
    judged_by = None if smoothed is None else _Judged(smoothed, predict_draws, predict_alpha)
    settings = {
        "attack": attack,
        "target": "base" if smoothed is None else "smoothed",
        "norm": norm,
        "eps": eps,
        **options,
        "projection": "exact Euclidean projection on ball and box",
        "box": (0.0, 1.0),
        "targeted": "given" if isinstance(targeted, Tensor) else targeted,
        "targets_hash": fingerprint(targeted.tolist()) if isinstance(targeted, Tensor) else None,
        "step_rule_settings": STEP_RULES.get(options["step_rule"], {}),
        "batch": batch,
        "noise": None if smoothed is None else smoothed.noise.noise.name,
        "attack_draws": None if smoothed is None else attack_draws,
        "redraw": None if smoothed is None else False,
        "predict_draws": None if smoothed is None else predict_draws,
        "predict_alpha": None if smoothed is None else predict_alpha,
        "seed": seed,
        "form": None if smoothed is None else smoothed.base.form.settings(),
    }
    if isinstance(targeted, Tensor) and len(targeted) != len(data):
        raise UserError(f"targeted has {len(targeted)} classes for {len(data)} images; give one per image")
    device = device_of(model)
    first_step(model, data, attack, ball, targeted, classes, options)

    given = dict(zip(data.indices.tolist(), targeted, strict=True)) if isinstance(targeted, Tensor) else {}

    def judge(part: Dataset) -> list[dict[str, Any]]:
        indices = part.indices.tolist()
        x, y = part.pixels().to(device), part.labels.to(device)
        logits: Classifier = model
        if smoothed is not None:
            drawn = _noise(smoothed, indices, attack_draws, x)
            logits = soft(model, drawn, noisy=partial(noisy, smoothed.noise.noise))
        keys = [key(seed, "attack", index) for index in indices]
        with evaluating(model), frozen(model):
            aim = torch.stack([given[index] for index in indices]) if given else targeted
            targets = targets_of(aim, logits, x, y, classes, keys)
            result = run(attack, logits, x, y, ball, targets, keys, options)
            if keep is not None:
                keep(part.indices, x.cpu(), result.x_adv.cpu())
            moved = result.x_adv.double() - x.double()
            lengths = {norm: distance(moved, norm).tolist() for norm in NORMS}
            before, after = (_predict(model, judged_by, images, indices) for images in (x, result.x_adv))
        losses = [value if value == value and abs(value) != float("inf") else None for value in result.loss.tolist()]
        return [
            {
                "predict_clean": before[i],
                "predict": after[i],
                "correct": after[i] == int(y[i]),
                "success": bool(result.success[i]),
                "loss": losses[i],
                "distance": float(result.distance[i]),
                "distances": {norm: lengths[norm][i] for norm in NORMS},
                "target": None if targets is None else int(targets[i]),
            }
            for i in range(len(indices))
        ]

    return Evaluation("attacked", settings, data, batch, at_once(judge), flags)


@dataclass(frozen=True, eq=False)
class _Judged:
    smoothed: Smoothed
    draws: int
    alpha: float


def _predict(model: Classifier, judged: _Judged | None, images: Tensor, indices: list[int]) -> list[int]:
    if judged is None:
        with torch.no_grad():
            return [int(label) for label in model(images).argmax(1)]
    found = judged.smoothed.predict_all(images.cpu(), indices, draws=judged.draws, alpha=judged.alpha)
    return [label for label, _ in found]


def _noise(smoothed: Smoothed, indices: list[int], draws: int, x: Tensor) -> Tensor:
    """Fixed draws (N, m, C, H, W), each image's from its own key, from the distribution that is certified."""
    lattice, shape = smoothed.noise, (draws, *x.shape[1:])
    name = lattice.noise.name
    drawn = [lattice.sample(shape, generator(smoothed.seed, "attack", name, index)) for index in indices]
    return torch.stack([torch.from_numpy(values) for values in drawn]).to(x) / lattice.levels
