"""Several networks as one: the mean of their logits."""

from collections.abc import Sequence

from torch import Tensor, nn

from gambeson.errors import UserError
from gambeson.types import Images, Logits


class Ensemble(nn.Module):
    """images (N, C, H, W) -> mean over the members of their logits (N, K).

    Under noise it varies less than one of them, so that the smoothed classifier is surer of its class and certified
    for a larger radius, at the price of as many forward passes.

    >>> import torch
    >>> Ensemble([nn.Flatten(), nn.Flatten()])(torch.ones(1, 1, 1, 2))
    tensor([[1., 1.]])

    Paper: Horvath, Mueller, Fischer and Vechev, "Boosting randomized smoothing with variance reduced classifiers", ICLR
    2022, arXiv:2106.06946: networks of one architecture and several seeds.
    """

    def __init__(self, members: Sequence[nn.Module]) -> None:
        super().__init__()
        if not members:
            raise UserError("an ensemble has no members; name at least one network")
        self.members = nn.ModuleList(members)

    def forward(self, x: Images) -> Logits:
        total: Tensor = self.members[0](x)
        for member in self.members[1:]:
            total = total + member(x)
        return total / len(self.members)


def ensemble(members: Sequence[nn.Module]) -> Ensemble:
    """An `Ensemble` of networks that `gambeson.models` built; `save` writes it into one file, `load` builds it again.

    All must be for images of one shape and as many classes.
    """
    from gambeson.models import Architecture

    made = [getattr(member, "architecture", None) for member in members]
    known = [one for one in made if isinstance(one, Architecture)]
    if len(known) < len(made):
        raise UserError("a member of the ensemble was not built by Gambeson: its file could not be read again")
    kinds = {(one.classes, one.shape) for one in known}
    if len(kinds) > 1:
        told = "; ".join(f"{classes} classes, images {shape}" for classes, shape in sorted(kinds))
        raise UserError(f"members of an ensemble must be for the same classes and images; these are for {told}")
    found = Ensemble(members)
    first = known[0]
    found.architecture = Architecture("ensemble", first.classes, first.shape, None, None, {"members": known})  # type: ignore[assignment]
    return found.eval()
