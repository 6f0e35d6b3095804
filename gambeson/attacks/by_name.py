"""An attack by its name: all that it will do, with no default left out of a record, and its call."""

import inspect
from collections.abc import Mapping, Sequence
from types import NoneType
from typing import Any, get_args, get_type_hints

from torch import Tensor

from gambeson.attacks import ATTACKS, NEAREST_ATTACKS
from gambeson.attacks.boundary import FEWEST_QUERIES
from gambeson.attacks.result import Result
from gambeson.attacks.spsa import own_rule
from gambeson.attacks.steps import usual_rule
from gambeson.errors import UserError, nearest
from gambeson.types import Ball, Box, Classifier, Images, Labels, Norm

COMPOSED = ("multi_targeted", "transfer")  # they run another attack, which the option `inner` names
INNER = ("pgd", "apgd", "fab")
_GIVEN = {"ball", "norm", "box", "keys", "targets", "towards", "source", "starts", "attack"}  # not options
_NORMS: dict[str, tuple[Norm, ...]] = {
    "deepfool": ("l2", "linf"),
    "carlini_wagner_linf": ("linf",),
    "fmn": ("linf", "l2", "l1"),
}
_WORDS: dict[type, str] = {
    int: "a whole number", float: "a number", str: "a word", bool: "true or false", NoneType: "nothing",
    Tensor: "a tensor",
}  # fmt: skip
_LEAST = {"steps": 1, "restarts": 2, "queries": FEWEST_QUERIES, "draws": 1, "samples": 2, "searches": 1, "classes": 1}


def complete(name: str, given: Mapping[str, Any], *, norm: Norm, eps: float | None) -> dict[str, Any]:
    """Every option of the attack with its value: what was given, else its default; a step size is a number.

    Raises UserError for an attack or an option that is unknown, for a value of the wrong type, and for a norm that the
    attack is not for. Of a composition, `inner` names what it runs and `of` holds the options of that.
    """
    attacks = ATTACKS | NEAREST_ATTACKS
    if name not in attacks:
        raise UserError(f"attack is {name!r}; {nearest(name, attacks)}")
    if name in NEAREST_ATTACKS and norm not in (allowed := _NORMS.get(name, ("l2",))):
        raise UserError(f"norm is {norm!r}; {name} is for {' and '.join(allowed)}")
    given, usual = dict(given), defaults(name)
    composed: dict[str, Any] = {}
    if name in COMPOSED:
        inner = given.pop("inner", "pgd")
        if inner not in INNER:
            raise UserError(f"inner is {inner!r}; {name} runs one of {', '.join(INNER)}")
        rest = {key: given.pop(key) for key in list(given) if key not in usual}
        of = complete(inner, rest, norm=norm, eps=eps)
        composed = {"inner": inner, "of": {key: value for key, value in of.items() if key not in usual}}
    for key, value in given.items():
        if key not in usual:
            raise UserError(f"{name} has no option {key}; {nearest(key, usual)}")
        _check_type(name, key, value)
    found = usual | given | composed
    if found.get("step_size", 0) is None and eps is not None:
        found["step_size"] = {"fgsm": eps, "spsa": 2.5 * eps / max(found.get("steps", 1), 1)}.get(name, eps / 10)
    if found.get("step_rule", "") is None:
        found["step_rule"] = own_rule(norm) if name == "spsa" else usual_rule(norm)
    return found


def defaults(name: str) -> dict[str, Any]:
    """The options of an attack and their defaults."""
    parameters = inspect.signature((ATTACKS | NEAREST_ATTACKS)[name]).parameters.values()
    keys = [one for one in parameters if one.kind is one.KEYWORD_ONLY and one.name not in _GIVEN]
    return {one.name: one.default for one in keys}


def check_aims_at(name: str) -> None:
    """Refuse a target of an attack that cannot aim at one."""
    attacks = ATTACKS | NEAREST_ATTACKS
    able = [one for one in attacks if "targets" in inspect.signature(attacks[one]).parameters]
    if name not in able:
        raise UserError(f"{name} aims at no class: leave targeted out, or attack one of {', '.join(able)}")


def own_norm(name: str, wished: Norm | None = None) -> Norm:
    """The norm that an attack for the smallest perturbation is for; of several the one that is wished, or the first."""
    allowed = _NORMS.get(name, ("l2",))
    return wished if wished in allowed else allowed[0]


def cheapest(options: Mapping[str, Any], least: Mapping[str, int] = _LEAST) -> dict[str, Any]:
    """The same options with next to no budget, to see whether the attack takes them."""
    smaller = {key: min(value, least[key]) if key in least and value else value for key, value in options.items()}
    if options.get("samples", 0) % 2:
        smaller["samples"] = options["samples"]  # what must be even is refused before anything is written
    return smaller | ({"of": cheapest(options["of"], least)} if "of" in options else {})


def run(
    name: str,
    options: Mapping[str, Any],
    logits: Classifier,
    x: Images,
    y: Labels,
    *,
    norm: Norm,
    eps: float | None,
    keys: Sequence[int],
    targets: Labels | None = None,
    box: Box | None = None,
    source: Classifier | None = None,
) -> Result:
    """options: all of them, of `complete`. eps: None of an attack for the smallest perturbation."""
    given: dict[str, Any] = {**options, "keys": keys, "box": box}
    if targets is not None:
        given["targets"] = targets
    if name in COMPOSED:
        given |= {"attack": ATTACKS[given.pop("inner")], **given.pop("of")}
    if name == "transfer":
        if source is None:
            raise UserError("transfer needs the classifier that it makes its images on: give source (--transfer)")
        given["source"] = source
    if name in NEAREST_ATTACKS:
        return NEAREST_ATTACKS[name](logits, x, y, **given, **({"norm": norm} if name in ("deepfool", "fmn") else {}))
    if eps == 0 and "step_size" in given:  # an attack with no room: judged all the same, so that curves start at 0
        given["step_size"] = None
    return ATTACKS[name](logits, x, y, ball=Ball(norm, eps or 0.0), **given)


def _check_type(name: str, key: str, value: Any) -> None:
    hint = get_type_hints((ATTACKS | NEAREST_ATTACKS)[name])[key]
    kinds = get_args(hint) or (hint,)
    if not any(_is(value, kind) for kind in kinds):
        raise UserError(f"{key} is {value!r}; {name} takes {' or '.join(_WORDS.get(kind, '') for kind in kinds)}")


def _is(value: Any, kind: type) -> bool:
    """Switches are no numbers; whole numbers are."""
    if kind in (int, float):
        return isinstance(value, (int, kind)) and not isinstance(value, bool)
    return isinstance(value, kind)
