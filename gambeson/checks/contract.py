"""Is the model what an evaluation takes it for?"""

from collections.abc import Sequence
from typing import Any

from gambeson.checks.check import Check, Verdict


def model_contract(flags: Sequence[Any]) -> Check:
    """Logits, a fixed function, images in [0, 1]: whatever `gambeson.models.guards` doubts about the model."""
    text = (
        " ".join(flag.message for flag in flags)
        or "The model is a fixed function of images in [0, 1] and gives logits."
    )
    verdict: Verdict = "doubt" if flags else "pass"
    return Check("model_contract", verdict, len(flags), 0, text, "Mend what the message names, then evaluate again.")


def broken_contract(why: str) -> Check:
    """The guards refuse the model: its answers change from call to call, depend on other images, are no logits, ..."""
    step = "Mend what the message names, then evaluate again: what is recorded is not about a classifier."
    return Check("model_contract", "fail", 1, 0, why, step)
