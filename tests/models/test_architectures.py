"""Every architecture: published sizes, shapes, gradients, and what it refuses."""

import pytest
import torch
from torch import nn

from gambeson import models
from gambeson.errors import UserError
from gambeson.models.blocks import PreActivationBlock
from gambeson.models.resnet import Block, resnet

GREY, COLOUR = (1, 28, 28), (3, 32, 32)

# (shape, options, exact count, what was published, its source); the exact counts are added up by hand from the layers.
SIZES = {
    "lenet": (GREY, {}, 431_080, 431e3, "Jeong & Shin 2020: 431k"),
    "stn_mnist": (GREY, {}, 3_382_346, 3.38e6, "Li et al. 2019, model description: 3.38 M"),
    "smallcnn": (GREY, {}, 312_202, 312e3, "added up from TRADES' models/small_cnn.py"),
    "ibp_small": (COLOUR, {}, 470_918, 471e3, "Gowal et al. 2018, Table 1: 471K"),
    "ibp_medium": (COLOUR, {}, 1_188_906, 1.2e6, "Gowal et al. 2018, Table 1: 1.2M"),
    "ibp_large": (COLOUR, {}, 17_190_602, 17e6, "Gowal et al. 2018, Table 1: 17M"),
    "resnet20": (COLOUR, {}, 272_474, 0.27e6, "He et al. 2016: 0.27M"),
    "resnet110": (COLOUR, {}, 1_730_714, 1.7e6, "He et al. 2016: 1.7M"),
    "preactresnet18": (COLOUR, {}, 11_172_170, 11.17e6, "11.17M, as commonly reported"),
    "wideresnet": (COLOUR, {}, 36_479_194, 36.5e6, "Zagoruyko & Komodakis 2016: WRN-28-10, 36.5M"),
    "digits_cnn": ((1, 8, 8), {}, 151_306, None, "ours"),
}
SMALLER = {"wideresnet": {"depth": 10, "width": 2}}  # the same code, quicker


def small(name: str, **options: object) -> nn.Module:
    return models.build(name, classes=7, shape=(2, 18, 17), **{**SMALLER.get(name, {}), **options}).eval()


def wake(net: nn.Module) -> nn.Module:
    """Give a zero-initialised last layer (smallcnn) weights, so that its answers differ."""
    last = [layer for layer in net.modules() if isinstance(layer, nn.Linear)][-1]
    nn.init.normal_(last.weight, generator=torch.Generator().manual_seed(0))
    return net


@pytest.mark.parametrize("name", models.names())
def test_parameter_count(name: str) -> None:
    shape, options, exact, published, _ = SIZES[name]
    with torch.device("meta"):  # counts without drawing 36 million weights
        net = getattr(models, name)(classes=10, shape=shape, **options)
    count = sum(parameter.numel() for parameter in net.parameters())
    assert count == exact
    assert published is None or abs(count / published - 1) < 0.02


@pytest.mark.parametrize("name", models.names())
def test_contract(name: str) -> None:
    net = wake(small(name))
    x = torch.rand(3, 2, 18, 17, generator=torch.Generator().manual_seed(1))
    logits = net(x)
    assert logits.shape == (3, 7)
    assert logits.dtype == torch.float32
    assert isinstance(next(net.children()), models.Normalize)
    last = [layer for layer in net.modules() if isinstance(layer, nn.Linear)][-1]
    seen: list[torch.Tensor] = []
    last.register_forward_hook(lambda _, __, output: seen.append(output))
    assert torch.equal(net(x), seen[0])  # the last nn.Linear gives the logits, with nothing after it
    laid_out = net.to(memory_format=torch.channels_last)(x.to(memory_format=torch.channels_last))
    torch.testing.assert_close(laid_out, logits, rtol=1e-4, atol=1e-5)
    with pytest.raises(UserError, match="this model takes"):
        net(x[:, :1])


@pytest.mark.parametrize("name", models.names())
def test_softplus_differentiates_twice(name: str) -> None:
    net = wake(small(name, activation="softplus"))
    x = torch.rand(2, 2, 18, 17, generator=torch.Generator().manual_seed(2)).requires_grad_()
    loss = nn.functional.cross_entropy(net(x), torch.tensor([0, 3]))
    (gradient,) = torch.autograd.grad(loss, x, create_graph=True)
    gradient.square().sum().backward()
    assert x.grad is not None
    assert all(bool(g.isfinite().all()) and bool((g != 0).any()) for g in (gradient, x.grad))
    assert all(p.grad is None or bool(p.grad.isfinite().all()) for p in net.parameters())


@pytest.mark.parametrize("name", models.names())
def test_normalisation_is_the_first_layer(name: str) -> None:
    mean, std = [0.25, 0.5], [0.5, 2.0]
    plain = wake(small(name))
    normalised = small(name, mean=mean, std=std)
    state = {key: value for key, value in plain.state_dict().items() if not key.startswith("normalize.")}
    normalised.load_state_dict(state, strict=False)
    x = torch.rand(2, 2, 18, 17, generator=torch.Generator().manual_seed(3))
    by_hand = (x - torch.tensor(mean).view(2, 1, 1)) / torch.tensor(std).view(2, 1, 1)
    assert torch.equal(normalised(x), plain(by_hand))
    assert not torch.equal(normalised(x), plain(x))


@pytest.mark.parametrize("name", ["lenet", "smallcnn", "digits_cnn"])
def test_pooling_before_the_activation_is_the_same_function(name: str) -> None:
    """Against the published order, by moving each pool behind the activation that follows it."""
    for activation in ("relu", "softplus", "elu"):
        net = wake(small(name, activation=activation))
        layers = [m for m in net.modules() if not list(m.children())]
        pools = [index for index, layer in enumerate(layers) if "Pool" in type(layer).__name__]
        assert pools
        for index in pools:
            layers[index : index + 2] = [layers[index + 1], nn.MaxPool2d(2)]
        x = torch.rand(2, 2, 18, 17, generator=torch.Generator().manual_seed(4))
        torch.testing.assert_close(nn.Sequential(*layers)(x), net(x), rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize("name", models.names())
def test_too_small_images_are_refused_with_the_size(name: str) -> None:
    word = "resnet" if name in ("resnet20", "resnet110") else name
    with pytest.raises(UserError, match=f"{word} takes images of at least .* these are 1x1"):
        models.build(name, classes=10, shape=(1, 1, 1))


@pytest.mark.parametrize("name", [name for name in models.names() if name != "digits_cnn"])
def test_smallest_size_stated_works(name: str) -> None:
    """The message names the smallest size; that size must build and run."""
    with pytest.raises(UserError) as caught:
        models.build(name, classes=10, shape=(1, 1, 1))
    side = int(str(caught.value).split("at least ")[1].split("x")[0])
    net = models.build(name, classes=3, shape=(1, side, side), **SMALLER.get(name, {})).eval()
    assert net(torch.rand(2, 1, side, side)).shape == (2, 3)


def bn(x: torch.Tensor, layer: nn.Module) -> torch.Tensor:
    shift = [value.view(1, -1, 1, 1) for value in (layer.running_mean, layer.running_var, layer.weight, layer.bias)]
    return (x - shift[0]) / (shift[1] + 1e-5).sqrt() * shift[2] + shift[3]


def stirred(block: nn.Module) -> nn.Module:
    """Random statistics and scales, so that no batch normalisation is the identity."""
    for tensor in [*block.parameters(), *block.buffers()]:
        if tensor.ndim == 1:
            nn.init.uniform_(tensor, 0.5, 1.5)
    return block.eval().double()


@pytest.mark.parametrize(("channels", "out", "stride"), [(3, 3, 1), (3, 6, 2), (3, 6, 1), (3, 3, 2)])
def test_residual_blocks_against_their_formulas(channels: int, out: int, stride: int) -> None:
    torch.manual_seed(0)
    x = torch.randn(2, channels, 8, 8, dtype=torch.float64)
    conv, changes = nn.functional.conv2d, channels != out or stride != 1

    block = stirred(PreActivationBlock(channels, out, stride, "relu"))
    inner = bn(x, block.bn1).relu()
    deep = conv(inner, block.conv1.weight, stride=stride, padding=1)
    deep = conv(bn(deep, block.bn2).relu(), block.conv2.weight, padding=1)
    skipped = conv(inner, block.shortcut[0].weight, stride=stride) if changes else x
    torch.testing.assert_close(block(x), skipped + deep)

    block = stirred(Block(channels, out, stride, "relu"))
    deep = bn(conv(x, block.conv1.weight, stride=stride, padding=1), block.bn1).relu()
    deep = bn(conv(deep, block.conv2.weight, padding=1), block.bn2)
    skipped = bn(conv(x, block.downsample[0].weight, stride=stride), block.downsample[1]) if changes else x
    torch.testing.assert_close(block(x), (skipped + deep).relu())


def test_initialisation_as_published() -> None:
    torch.manual_seed(0)
    assert bool((models.smallcnn(classes=10, shape=GREY)(torch.rand(2, *GREY)) == 0).all())
    weight = resnet(classes=10, shape=COLOUR).layer3[1].conv1.weight  # 64 x 64 x 3 x 3, fan out 576
    assert weight.std().item() == pytest.approx((2 / 576) ** 0.5, rel=0.02)
    weight = models.ibp_small(classes=10, shape=GREY).fc1.weight
    torch.testing.assert_close(weight @ weight.T, torch.eye(100), atol=1e-4, rtol=0)
    net = models.stn_mnist(classes=10, shape=(1, 12, 12))
    bound = (6 / (64 * 25 + 64 * 25)) ** 0.5
    assert 0.99 * bound < net.conv2.weight.abs().max().item() <= bound
    assert bool((net.conv2.bias == 0).all())


@pytest.mark.parametrize(
    ("name", "options", "words"),
    [
        ("lenett", {}, "did you mean lenet"),
        ("zebra", {}, "Known: .*lenet"),
        ("lenet", {"activaton": "elu"}, "did you mean activation"),
        ("lenet", {"activation": "gelu"}, "relu, softplus, elu"),
        ("lenet", {"mean": [0.5] * 3, "std": [0.5] * 3}, "mean has 3 values"),
        ("lenet", {"mean": [0.5]}, "std is missing"),
        ("lenet", {"mean": [0.5], "std": [0.0]}, "std is"),
        ("lenet", {"mean": [float("nan")], "std": [1.0]}, "mean is"),
        ("lenet", {"classes": 1}, "classes is 1"),
        ("lenet", {"shape": (28, 28)}, "shape is"),
        ("wideresnet", {"depth": 29}, "6 n [+] 4"),
        ("wideresnet", {"width": 0}, "width is 0"),
        ("wideresnet", {"dropout": 1.0}, "dropout is 1.0"),
    ],
)
def test_build_refuses_with_a_remedy(name: str, options: dict, words: str) -> None:
    settings = {"classes": 10, "shape": GREY, **options}
    with pytest.raises(UserError, match=words):
        models.build(name, **settings)


def test_resnet_depth() -> None:
    with pytest.raises(UserError, match=r"6 n \+ 2"):
        resnet(classes=10, shape=COLOUR, depth=21)


def test_options_are_the_signature() -> None:
    assert models.options("wideresnet") == {
        "activation": "relu",
        "depth": 28,
        "width": 10,
        "dropout": 0.0,
        "denoising": False,
    }
    assert set(models.names()) == set(models.__all__) == set(SIZES)
