"""Guard rails on what is handed over: images, labels, and the mode that the model is in."""

from torch import nn

from gambeson.models.flag import Flag, refuse
from gambeson.types import Classifier, Images, Labels

CLAMP = "clamp values that are outside by rounding only"


def pixels(x: Images) -> Flag | None:
    """Images are float (N, C, H, W) in [0, 1]."""
    if x.ndim != 4 or len(x) == 0:
        return refuse("inputs", f"inputs have shape {tuple(x.shape)}; give images (N, C, H, W), at least one")
    if not x.is_floating_point():
        return refuse("inputs", f"inputs are {x.dtype}; Gambeson wants float32 in [0, 1]: x.float() / 255")
    if broken := int((~x.isfinite()).flatten(1).any(1).sum()):
        return refuse("inputs", f"{broken} of {len(x)} images hold NaN or infinity; repair the data they come from")
    low, high = x.min().item(), x.max().item()
    if low < 0:
        remedy = "hand in the pixels and let the model normalise them (--mean/--std)"
        return refuse("inputs", f"inputs reach down to {low:.4g}; Gambeson wants [0, 1]: {remedy}; {CLAMP}")
    if high > 1:
        remedy = "divide by 255 (or by the largest level), and give --mean/--std if the model expects normalised inputs"
        return refuse("inputs", f"inputs reach {high:.6g}; Gambeson wants [0, 1]: {remedy}; {CLAMP}")
    return None


def labels(x: Images, y: Labels | None, classes: int) -> Flag | None:
    """Labels are integers 0..classes-1, one for each image."""
    if y is None:
        return None
    if y.ndim != 1 or len(y) != len(x) or y.is_floating_point():
        wanted = f"give int64 of shape ({len(x)},): class indices, not one-hot rows"
        return refuse("labels", f"labels are {y.dtype} of shape {tuple(y.shape)}; {wanted}")
    low, high = int(y.min()), int(y.max())
    if low < 0 or high >= classes:
        off_by_one = low == 1 and high == classes
        remedy = "subtract 1" if off_by_one else "give the number of classes that the data has"
        return refuse("labels", f"labels run from {low} to {high}; {classes} classes are 0..{classes - 1}: {remedy}")
    return None


def training(model: Classifier) -> Flag | None:
    """No module is in training mode; a dropout or batch normalisation that is gets named first."""
    active = [(n, m) for n, m in model.named_modules() if m.training] if isinstance(model, nn.Module) else []
    if not active:
        return None
    telling = [pair for pair in active if any(word in type(pair[1]).__name__ for word in ("Dropout", "BatchNorm"))]
    name, module = (telling or active)[0]
    where = f"layer {name!r} ({type(module).__name__})" if name else f"the model ({type(module).__name__})"
    return refuse("training_mode", f"{where} is in training mode ({len(active)} modules are): call model.eval()")
