"""Suites: the worst of all members per image, and whose point it is."""

import pytest
import torch
from torch import nn

from gambeson import suites
from gambeson.attacks import ATTACKS, BLACK_BOX, NEAREST_ATTACKS
from gambeson.attacks.by_name import cheapest, defaults
from gambeson.errors import UserError
from gambeson.suites import CLEAN, PRESETS, Member, as_member, preset, worst_case
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
    return Member(member.name, member.attack, cheapest(member.options, budget))


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
    for name, asked in {
        "apgd_ce": {"loss": "cross_entropy", "restarts": 1, "calls": 1, "steps": 100},
        "apgd_t": {"inner": "apgd", "classes": 9, "loss": "dlr"},
        "fab_t": {"inner": "fab", "classes": 9, "loss": "difference"},
        "square": {"queries": 5_000},
    }.items():
        assert asked.items() <= standard[name].options.items()
    assert (standard["apgd_t"].options["of"]["steps"], standard["fab_t"].options["of"]["steps"]) == (100, 100)
    l1 = {member.name: member.options for member in preset("standard", Ball("l1", 0.1), 10)}
    assert (l1["apgd_ce"]["restarts"], l1["apgd_t"]["classes"]) == (5, 5)
    assert [member.name for member in preset("rand", Ball("l2", 0.1), 10)] == ["apgd_ce", "apgd_dlr"]
    assert preset("rand", Ball("l2", 0.1), 10)[0].options["calls"] == 20


@pytest.mark.parametrize("name", PRESETS)
def test_no_default_of_a_member_is_left_out(name):
    for one in preset(name, Ball("linf", 0.1), 10, transfers=True):
        told = one.settings()["options"]
        assert defaults(one.attack).keys() <= told.keys()
        if "inner" in told:
            assert defaults(told["inner"]).keys() - defaults(one.attack).keys() == told["of"].keys()
        steps = {**told, **told.get("of", {})}
        assert steps.get("step_size", 0.1) is not None


def test_worst_case_is_the_union_and_names_who_broke(net, x):
    with torch.no_grad():
        y = net(x).argmax(1)
    y[:3] = (y[:3] + 1) % 10  # misclassified as they are
    ball = Ball("linf", 0.02)
    members = [as_member("one step", "fgsm", {}, ball), as_member("many", "pgd", {"steps": 20}, ball)]
    worst = worst_case(members, net, x, y, ball=Ball("linf", 0.02))
    each = [
        ATTACKS[m.attack](net, x, y, ball=Ball("linf", 0.02), keys=range(len(x)), **m.options).success for m in members
    ]
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
    worst = worst_case([as_member("ddn", "ddn", {}, Ball("l2", eps))], net, x, y, ball=Ball("l2", eps))
    assert torch.equal(worst.result.success, radii <= eps)
    assert (worst.result.distance <= eps).all()


def test_mistakes_are_named(net, x):
    with pytest.raises(UserError, match=r"preset is 'strongest'; .*strong"):
        preset("strongest", Ball("linf", 0.1), 10)
    with pytest.raises(UserError, match="give source"):
        worst_case(
            [as_member("t", "transfer", {}, Ball("linf", 0.1))], net, x, net(x).argmax(1), ball=Ball("linf", 0.1)
        )
    assert suites.CLEAN not in ATTACKS


def test_a_share_cuts_restarts_and_queries_and_says_so():
    ball = Ball("linf", 0.1)

    def budgets(share):
        for one in preset("strong", ball, 10, share=share):
            for options in (one.options, one.options.get("of", {})):
                yield from ((name, value) for name, value in options.items() if isinstance(value, int))

    for (name, value), (_, cut) in zip(budgets(1.0), budgets(0.05), strict=True):
        less = {"restarts": max(1, round(value / 20)), "queries": max(120, value // 20)}
        assert cut == less.get(name, value)
    for share in (0, -1, 1.1):
        with pytest.raises(UserError, match="share is"):
            preset("strong", ball, 10, share=share)


def test_where_something_else_judges_members_go_to_the_end():
    for one in preset("strong", Ball("linf", 0.1), 10, early_stop=False):
        assert one.options.get("early_stop", False) is False


def test_without_a_gradient_those_that_need_none_are_left():
    ball = Ball("linf", 0.1)
    assert {one.attack for one in preset("strong", ball, 10, transfers=True, gradients=False)} == {
        "square", "boundary", "transfer",
    }  # fmt: skip
    assert {"square", "boundary", "transfer"} < set(BLACK_BOX)
    with pytest.raises(UserError, match="no gradient, and paper has no attack without one"):
        preset("paper", ball, 10, gradients=False)


def test_a_ball_without_room_costs_nothing(net, x):
    calls = []

    def counted(images):
        calls.append(len(images))
        return net(images)

    ball = Ball("linf", 0.0)
    worst_case(preset("strong", ball, 10), counted, x, net(x).argmax(1), ball=ball)
    assert len(calls) <= 3
