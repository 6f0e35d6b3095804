"""Suites: the worst of all members per image, and whose point it is."""

import pytest
import torch
from torch import nn

from gambeson import suites
from gambeson.attacks import ATTACKS, NEAREST_ATTACKS
from gambeson.errors import UserError
from gambeson.suites import CLEAN, PRESETS, Member, preset, worst_case
from gambeson.types import NORMS, Ball


@pytest.fixture(scope="module")
def net():
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return nn.Sequential(nn.Flatten(), nn.Linear(64, 32), nn.ReLU(), nn.Linear(32, 10)).eval()


@pytest.fixture(scope="module")
def x():
    return torch.rand(24, 1, 8, 8, generator=torch.Generator().manual_seed(1))


def smaller(member: Member) -> Member:
    """The same attack with a hundredth of its budget."""
    budget = {"steps": 10, "restarts": 1, "queries": 150, "classes": 3}
    options = {name: min(value, budget.get(name, value)) if isinstance(value, int) else value
               for name, value in member.options.items()}  # fmt: skip
    return Member(member.name, member.attack, options, member.of)


@pytest.mark.parametrize("name", PRESETS)
@pytest.mark.parametrize("norm", NORMS)
@pytest.mark.parametrize("classes", [2, 3, 4, 10])
def test_every_member_is_an_attack_and_takes_its_options(net, x, name, norm, classes):
    cut = nn.Sequential(net, nn.Linear(10, classes, bias=False)).eval()
    y = cut(x[:2]).argmax(1)
    for member in map(smaller, preset(name, Ball(norm, 0.01), classes, transfers=True)):
        assert member.attack in ATTACKS | NEAREST_ATTACKS
        worst_case([member], cut, x[:2], y, ball=Ball(norm, 0.01), source=cut)


def test_the_published_protocol_has_its_members_and_budgets():
    standard = {member.name: member for member in preset("standard", Ball("linf", 0.1), 10)}
    assert list(standard) == ["apgd_ce", "apgd_t", "fab_t", "square"]
    assert standard["apgd_ce"].options == {"loss": "cross_entropy", "restarts": 1, "calls": 1}
    assert (standard["apgd_t"].of, standard["apgd_t"].options) == ("apgd", {"classes": 9, "loss": "dlr"})
    assert (standard["fab_t"].of, standard["fab_t"].options) == ("fab", {"classes": 9, "loss": "difference"})
    assert standard["square"].options == {"queries": 5_000}
    l1 = {member.name: member.options for member in preset("standard", Ball("l1", 0.1), 10)}
    assert (l1["apgd_ce"]["restarts"], l1["apgd_t"]["classes"]) == (5, 5)
    assert [member.name for member in preset("rand", Ball("l2", 0.1), 10)] == ["apgd_ce", "apgd_dlr"]
    assert preset("rand", Ball("l2", 0.1), 10)[0].options["calls"] == 20


def test_worst_case_is_the_union_and_names_who_broke(net, x):
    with torch.no_grad():
        y = net(x).argmax(1)
    y[:3] = (y[:3] + 1) % 10  # misclassified as they are
    members = [Member("one step", "fgsm", {}), Member("many", "pgd", {"steps": 20})]
    worst = worst_case(members, net, x, y, ball=Ball("linf", 0.02))
    each = [ATTACKS[m.attack](net, x, y, ball=Ball("linf", 0.02), **m.options).success for m in members]
    assert torch.equal(worst.result.success, each[0] | each[1])
    assert worst.broken_by[:3] == (CLEAN,) * 3
    for row in range(3, len(x)):
        expected = "one step" if each[0][row] else "many" if each[1][row] else None
        assert worst.broken_by[row] == expected
    with torch.no_grad():
        assert torch.equal(net(worst.result.x_adv).argmax(1) != y, worst.result.success)
    assert (worst.result.distance <= 0.02).all()


def test_a_small_perturbation_counts_only_inside_the_ball(net, x):
    with torch.no_grad():
        y = net(x).argmax(1)
    radii = NEAREST_ATTACKS["ddn"](net, x, y).distance
    eps = float(radii.median())
    worst = worst_case([Member("ddn", "ddn", {})], net, x, y, ball=Ball("l2", eps))
    assert torch.equal(worst.result.success, radii <= eps)
    assert (worst.result.distance <= eps).all()


def test_mistakes_are_named(net, x):
    with pytest.raises(UserError, match=r"preset is 'strongest'; .*strong"):
        preset("strongest", Ball("linf", 0.1), 10)
    with pytest.raises(UserError, match="give source"):
        worst_case([Member("t", "transfer", {})], net, x, net(x).argmax(1), ball=Ball("linf", 0.1))
    assert suites.CLEAN not in ATTACKS


def test_a_share_cuts_restarts_and_queries_and_says_so():
    ball = Ball("linf", 0.1)
    for whole, cut in zip(preset("strong", ball, 10), preset("strong", ball, 10, share=0.05), strict=True):
        assert cut.name == whole.name
        for name, value in whole.options.items():
            less = (
                {"restarts": max(1, value // 20), "queries": max(120, value // 20)}
                if name in ("restarts", "queries")
                else {}
            )
            assert cut.options[name] == less.get(name, value)
    for share in (0, -1, 1.1):
        with pytest.raises(UserError, match="share is"):
            preset("strong", ball, 10, share=share)
