"""Accuracy under attack: every image's worst case, of the base model or of the smoothed classifier."""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from gambeson.attacks.by_name import run
from gambeson.attacks.result import Result
from gambeson.data import Dataset, Pairs, examples
from gambeson.errors import UserError
from gambeson.evaluation.asked import Asked, asked_for, check_ball, check_draws
from gambeson.evaluation.effort import Effort, seconds
from gambeson.evaluation.one_attack import check_source, named, targets_of
from gambeson.evaluation.plan import Evaluation, check_batch, inspect
from gambeson.evaluation.target import Target, target_of
from gambeson.evaluation.work import at_once
from gambeson.geometry import distance
from gambeson.inference import Form
from gambeson.keys import key
from gambeson.models.modes import device_of, under_attack
from gambeson.records import fingerprint
from gambeson.suites import PRESETS, Worst, worst_case
from gambeson.types import NORMS, Classifier, Labels, Norm

Keep = Callable[[Tensor, Tensor, Tensor], None]  # (indices, x, x_adv) of every finished batch
_LEVELS = 255  # of 8-bit images


def attacked(
    model: Classifier,
    data: Pairs,
    *,
    eps: float | None = None,
    norm: Norm = "linf",
    attack: str = "pgd",
    targeted: str | Labels | None = None,
    noise: str | None = None,
    attack_draws: int = 16,
    order: str = "log_of_mean",
    redraw: bool = False,
    gradient: str = "autograd",
    predict_draws: int = 1000,
    predict_alpha: float = 0.001,
    source: Classifier | None = None,
    share: float = 1.0,
    seed: int = 0,
    form: Form | None = None,
    batch: int | None = None,
    keep: Keep | None = None,
    **options: Any,
) -> Evaluation:
    """Attack `model` on every image and judge anew what the attack returns.

    attack: one of `gambeson.attacks` or a suite of them (`gambeson.suites.preset`); options: the attack's own, such as
    steps, loss, restarts (a suite has none). eps, step_size: in [0, 1] pixel units and in `norm`; PGD's step_size None
    is eps / 10. Attacks for the smallest perturbation take no eps. targeted: None, "random", "least_likely", or a class
    per image, int64 (N,) in the order of `data`; success then means that class. source: another classifier, which
    transfer attacks, and a suite that has it. share: of a suite's restarts and queries. A suite leaves attacks that
    need a gradient out where the model has none.

    noise (kind:scale) attacks the smoothed classifier instead of the base model: the attack sees the log of the mean
    softmax over `attack_draws` draws per image (Salman et al. 2019), fixed through its steps or, with `redraw` (one
    walk of PGD, FGSM or DDN, whose last point counts), new at every call; order "mean_of_log" is the expectation over
    transformations, the wrong objective, to compare; gradient "stein" estimates the gradient from scores. What it
    returns is judged by PREDICT with `predict_draws` fresh draws at `predict_alpha`, which may abstain (predict -1, not
    correct); splitting noise is judged by every noisy copy and never abstains. early_stop None: yes for the base model,
    no for the smoothed classifier, where fooling a few draws says little about the vote, and the largest loss counts.
    (Attacks for the smallest perturbation, and FAB, end at the boundary that those few draws have: of the vote that
    says less.)

    keep: called with (indices, x, x_adv) of every finished batch, before its records come out. Records hold
    predict_clean, predict, predict_rounded (of the base model, once the point is saved as an 8-bit image), correct,
    success, loss, distance (float64, in `norm`), distances (in every norm). No default of an attack is left out of
    `settings`: an evaluation without them cannot be written.
    """
    data = examples(data)
    check_batch(batch)
    slow = (noise is not None) + (attack in PRESETS)
    batch = batch or (250, 50, 10)[slow]  # what a kill loses: hours, of a suite on a smoothed classifier
    check_ball(attack, norm, eps, data.images.shape[1:].numel())
    classes, flags = inspect(model, data)
    law: dict[str, Any] = {"order": order, "redraw": redraw, "gradient": gradient}
    check_draws(attack, options, noise, **law)
    target = target_of(
        model, data, noise=noise, classes=classes, seed=seed, form=form, draws=attack_draws,
        predict_draws=predict_draws, predict_alpha=predict_alpha, **law,
    )  # fmt: skip
    check_source(source, model, data)
    if isinstance(targeted, Tensor) and len(targeted) != len(data):
        raise UserError(f"targeted has {len(targeted)} classes for {len(data)} images; give one per image")
    device, base = device_of(model), target.smoothed is None
    x, y = data.pixels([0]).to(device), data.labels[:1].to(device)
    with under_attack(x, model, source):
        asked = asked_for(
            attack, options, target, target.seen(data.indices[:1].tolist(), x), x, y, norm=norm, eps=eps,
            classes=classes, targeted=targeted, source=source, share=share,
        )  # fmt: skip
    settings = {
        "attack": attack,
        **target.settings(),
        "norm": norm,
        "eps": eps,
        **asked.settings(),
        "projection": "exact Euclidean projection on ball and box",
        "box": (0.0, 1.0),
        "targeted": "given" if isinstance(targeted, Tensor) else targeted,
        "targets_hash": fingerprint(targeted.tolist()) if isinstance(targeted, Tensor) else None,
        "batch": batch,
        "redraw": None if base else redraw,
        **_unusual(order=order, gradient=gradient),
        "seed": seed,
        **({} if source is None else {"source": named(source)}),
        **({} if share == 1 else {"share": share}),
    }
    aims = dict(zip(data.indices.tolist(), targeted, strict=True)) if isinstance(targeted, Tensor) else {}

    def effort(rows: list[int]) -> Effort:
        part = data.subset(rows[:batch])
        looks = 3 + len(asked.members) if asked.members else 2
        x = part.pixels().to(device)
        with under_attack(x, model, source):
            logits = target.seen(part.indices.tolist(), x)
            votes = 1 if base else looks * target.predict_draws / attack_draws
            each = seconds(logits, x, asked.planned(), classes, votes)
            return Effort(len(rows), len(rows) * each)

    def judge(part: Dataset) -> list[dict[str, Any]]:
        indices = part.indices.tolist()
        x, y = part.pixels().to(device), part.labels.to(device)
        keys = [key(seed, "attack", index) for index in indices]
        with under_attack(x, model, source):
            logits = target.seen(indices, x)
            before = target.predict(x, indices)
            if asked.members:
                worst = _worst(asked, target, logits, x, y, keys, indices, source)
                result, targets, broken_by = worst.result, None, worst.broken_by
            else:
                aim = torch.stack([aims[index] for index in indices]) if aims else targeted
                targets = targets_of(aim, logits, x, y, classes, keys)
                how: dict[str, Any] = {"targets": targets, "keys": keys, "source": source}
                result = run(attack, asked.options, logits, x, y, norm=norm, eps=eps, **how)
                broken_by = ()
            if keep is not None:
                keep(part.indices, x.cpu(), result.x_adv.cpu())
            after = target.predict(result.x_adv, indices)
            saved = (result.x_adv * _LEVELS).round() / _LEVELS
            rounded = target.predict(saved, indices) if base else []
        return _records(x, y, before, after, rounded, result, targets, broken_by)

    return Evaluation("attacked", settings, data, batch, at_once(judge), flags, effort=effort)


def _unusual(**named: str) -> dict[str, str]:
    """Settings that are left out where they are as they always were: the same evaluation keeps its id."""
    usual = {"order": "log_of_mean", "gradient": "autograd"}
    return {name: value for name, value in named.items() if value != usual[name]}


def _worst(
    asked: Asked, target: Target, logits: Classifier, x: Tensor, y: Tensor, keys: list[int], indices: list[int],
    source: Classifier | None,
) -> Worst:  # fmt: skip
    """A smoothed classifier is broken where its vote names another class, not where the attack's few draws do."""

    def broken(x_adv: Tensor, rows: Tensor) -> Tensor:
        found = target.predict(x_adv, [indices[row] for row in rows.tolist()])
        predict = torch.tensor(found, device=y.device)
        return (predict != y[rows]) & (predict != -1)

    how = None if target.smoothed is None else broken
    return worst_case(asked.members, logits, x, y, ball=asked.ball, keys=keys, source=source, broken=how)


def _records(
    x: Tensor, y: Tensor, before: list[int], after: list[int], rounded: list[int], result: Result,
    targets: Tensor | None, broken_by: tuple[str | None, ...],
) -> list[dict[str, Any]]:  # fmt: skip
    moved = result.x_adv.double() - x.double()
    lengths = {norm: distance(moved, norm).tolist() for norm in NORMS}
    losses = [value if value == value and abs(value) != float("inf") else None for value in result.loss.tolist()]
    return [
        {
            "predict_clean": before[i],
            "predict": after[i],
            **({"predict_rounded": rounded[i]} if rounded else {}),
            "correct": after[i] == int(y[i]),
            "success": bool(result.success[i]),
            "loss": losses[i],
            "distance": float(result.distance[i]),
            "distances": {norm: lengths[norm][i] for norm in NORMS},
            "target": None if targets is None else int(targets[i]),
            **({"broken_by": broken_by[i]} if broken_by else {}),
            **({"reason": result.reason[i] or None} if result.reason else {}),
        }
        for i in range(len(y))
    ]
