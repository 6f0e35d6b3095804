"""Guard rail: does a model search while it answers?"""

from collections import Counter
from contextlib import ExitStack
from typing import Any

import torch
from torch import Tensor, nn

from gambeson.models.flag import Flag, doubt
from gambeson.types import Classifier, Images

_REMEDY = "attack it with its search in the loop (gradients through all rounds), and without gradients"


@torch.no_grad()
def iterates(model: Classifier, batch: Images) -> Flag | None:
    """Gradients that are recorded although none were asked for, or a layer with a matrix or filters that runs more than
    once for an answer (activations with a parameter are shared honestly).

    Purification and other searches at inference hide from gradient attacks what they undo (Croce et al. 2022,
    arXiv:2202.13711). Recurrent models share layers honestly: this is a doubt, not a refusal.
    """
    saved, ran = 0, Counter[str]()

    def pack(tensor: Tensor) -> Tensor:
        nonlocal saved
        saved += 1
        return tensor

    def counting(name: str) -> Any:
        def hook(*_: Any) -> None:
            ran[name] += 1

        return hook

    with ExitStack() as stack:
        for name, layer in model.named_modules() if isinstance(model, nn.Module) else ():
            if any(weight.dim() > 1 for weight in layer.parameters(recurse=False)):
                stack.callback(layer.register_forward_hook(counting(name)).remove)
        stack.enter_context(torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor))
        model(batch)
    if saved:
        return doubt("optimises", f"the model takes gradients while it answers: {_REMEDY}")
    name, times = max(ran.items(), key=lambda item: item[1], default=("", 0))
    if times > 1:
        return doubt("optimises", f"layer {name!r} runs {times} times for one answer, as in a search: {_REMEDY}")
    return None
