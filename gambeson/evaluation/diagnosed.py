"""What attacks meet on a model, image by image: the numbers that the checks read."""

from dataclasses import asdict
from typing import Any

import torch

from gambeson.data import Dataset, Pairs, examples
from gambeson.errors import UserError
from gambeson.evaluation.asked import check_reach
from gambeson.evaluation.effort import Effort, seconds
from gambeson.evaluation.one_attack import check_source, named
from gambeson.evaluation.plan import Evaluation, check_batch, inspect
from gambeson.evaluation.probes import MULTIPLES, Budget, planned, probe
from gambeson.evaluation.target import target_of
from gambeson.evaluation.work import at_once
from gambeson.inference import Form
from gambeson.keys import key
from gambeson.models.modes import device_of, under_attack
from gambeson.types import Ball, Classifier, Norm


def diagnosed(
    model: Classifier,
    data: Pairs,
    *,
    eps: float,
    norm: Norm = "linf",
    noise: str | None = None,
    attack_draws: int = 16,
    predict_draws: int = 1_000,
    predict_alpha: float = 0.001,
    source: Classifier | None = None,
    budget: Budget | None = None,
    seed: int = 0,
    form: Form | None = None,
    batch: int | None = None,
) -> Evaluation:
    """Attack every image in many ways, and write down what tells a weak attack from a robust model.

    eps, norm, noise and its settings as in `attacked`; with noise, attacks see the soft smoothed classifier under draws
    that stay, and it judges all but `fooled_again`, which is PREDICT's (null without noise). source: another
    classifier, for transfer.

    A record holds: predict, correct: of the clean image. one_step: FGSM fooled. after_steps: steps of eps/10 on the
    cross-entropy it took, 0: it fell before the first, None: it held out; after_restarts: how many random starts on the
    margin. black_box: which attack without gradients broke an image that these three did not; random_noise: whether
    noise broke one. by_eps: success of PGD-20 at `MULTIPLES` of eps. unavailable, unstable, silent, incomplete,
    unlimited: see `attacks.indicators`. fooled: by the point of largest loss; fooled_again: the vote there;
    fooled_rounded: that point, once it is saved as an 8-bit image (None where it does not fool, or the image is wrong
    as it is). gamma, loss: see `attacks.local_linearity`. What needs a gradient is None where a model has none.

    Carlini et al. 2019, arXiv:1902.06705; Athalye et al. 2018, arXiv:1802.00420; Pintor et al. 2022, arXiv:2106.09947.
    """
    data, budget = examples(data), budget or Budget()
    check_batch(batch)
    batch = batch or (100 if noise is None else 20)  # what a kill loses, against what small calls cost
    ball = Ball(norm, eps)
    if eps == 0:
        raise UserError("eps is 0; a diagnosis needs a ball, eps > 0")
    check_reach(ball, data.images.shape[1:].numel())
    classes, flags = inspect(model, data)
    check_source(source, model, data)
    target = target_of(
        model, data, noise=noise, classes=classes, seed=seed, form=form, draws=attack_draws,
        predict_draws=predict_draws, predict_alpha=predict_alpha,
    )  # fmt: skip
    settings = {
        **target.settings(),
        "norm": norm,
        "eps": eps,
        "multiples": MULTIPLES,
        "budget": asdict(budget),
        "source": None if source is None else named(source),
        "batch": batch,
        "seed": seed,
    }
    device = device_of(model)

    def effort(rows: list[int]) -> Effort:
        part = data.subset(rows[:batch])
        x = part.pixels().to(device)
        with under_attack(x, model, source):
            votes = target.predict_draws / attack_draws if target.smoothed else 0
            seen = target.seen(part.indices.tolist(), x)
            each = seconds(seen, x, planned(ball, budget, source), classes, votes)
            return Effort(len(rows), len(rows) * each)

    def judge(part: Dataset) -> list[dict[str, Any]]:
        indices = part.indices.tolist()
        x, y = part.pixels().to(device), part.labels.to(device)
        keys = [key(seed, "diagnose", index) for index in indices]
        with under_attack(x, model, source):
            logits = target.seen(indices, x)
            found = probe(logits, x, y, ball=ball, budget=budget, keys=keys, source=source)
            with torch.no_grad():
                clean = logits(x).argmax(1).tolist()
            again: list[int] = []
            if found.x_adv is not None and target.smoothed is not None:
                again = target.predict(found.x_adv, indices)
        labels = y.tolist()
        return [
            {
                "predict": clean[row],
                "correct": clean[row] == labels[row],
                **fields,
                **({"fooled_again": again[row] not in (labels[row], -1)} if again else {}),
            }
            for row, fields in enumerate(found.fields)
        ]

    return Evaluation("diagnosed", settings, data, batch, at_once(judge), flags, effort=effort)
