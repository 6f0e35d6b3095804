"""From an attack's name and what is asked of it to all that it will do: no default is left out of a record."""

import inspect
from collections.abc import Mapping
from typing import Any

from gambeson.attacks import ATTACKS, NEAREST_ATTACKS
from gambeson.errors import UserError, nearest
from gambeson.types import Norm

COMPOSED = ("multi_targeted", "transfer")  # they run another attack, which their option `attack` names
INNER = ("pgd", "apgd", "fab")
_GIVEN = {"ball", "norm", "box", "keys", "targets", "towards", "source", "starts", "attack"}  # not options
_NORMS: dict[str, tuple[Norm, ...]] = {
    "deepfool": ("l2", "linf"),
    "carlini_wagner_linf": ("linf",),
    "fmn": ("linf", "l2", "l1"),
}
_LEAST = {"steps": 1, "restarts": 2, "queries": 120, "draws": 1, "samples": 2, "searches": 1, "classes": 1}


def complete(name: str, given: Mapping[str, Any], *, norm: Norm, eps: float | None) -> dict[str, Any]:
    """Every option of the attack with its value: what was given, else its default; a step size is a number.

    Raises UserError for an attack or an option that is unknown, and for a norm that the attack is not for. Of a
    composition, `attack` names what it runs and `of` holds the options of that.
    """
    attacks = ATTACKS | NEAREST_ATTACKS
    if name not in attacks:
        raise UserError(f"attack is {name!r}; {nearest(name, attacks)}")
    if name in NEAREST_ATTACKS and norm not in (allowed := _NORMS.get(name, ("l2",))):
        raise UserError(f"norm is {norm!r}; {name} is for {' and '.join(allowed)}")
    given, defaults = dict(given), _defaults(name)
    composed: dict[str, Any] = {}
    if name in COMPOSED:
        inner = given.pop("attack", "pgd")
        if inner not in INNER:
            raise UserError(f"attack is {inner!r}; {name} runs one of {', '.join(INNER)}")
        rest = {key: given.pop(key) for key in list(given) if key not in defaults}
        of = complete(inner, rest, norm=norm, eps=eps)
        composed = {"attack": inner, "of": {key: value for key, value in of.items() if key not in defaults}}
    for key in given:
        if key not in defaults:
            raise UserError(f"{name} has no option {key}; {nearest(key, defaults)}")
    found = defaults | given | composed
    if found.get("step_size", 0) is None and eps is not None:
        found["step_size"] = {"fgsm": eps, "spsa": 2.5 * eps / max(found.get("steps", 1), 1)}.get(name, eps / 10)
    if found.get("step_rule", "") is None:
        found["step_rule"] = "sign" if norm == "linf" else "normalised"
    return found


def own_norm(name: str) -> Norm:
    """The norm that an attack for the smallest perturbation is for, or the first of them."""
    return _NORMS.get(name, ("l2",))[0]


def cheapest(options: Mapping[str, Any]) -> dict[str, Any]:
    """The same options with next to no budget, to see whether the attack takes them."""
    smaller = {key: min(value, _LEAST[key]) if key in _LEAST and value else value for key, value in options.items()}
    return smaller | ({"of": cheapest(options["of"])} if "of" in options else {})


def _defaults(name: str) -> dict[str, Any]:
    parameters = inspect.signature((ATTACKS | NEAREST_ATTACKS)[name]).parameters.values()
    keys = [one for one in parameters if one.kind is one.KEYWORD_ONLY and one.name not in _GIVEN]
    return {one.name: one.default for one in keys}
