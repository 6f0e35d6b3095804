"""The Monte Carlo loop: the noise that an image sees depends on its key alone, sums are integers, memory is flat."""

import re
import subprocess
import sys

import numpy as np
import pytest
import torch
from torch import Tensor

from gambeson import bursts, sampling
from gambeson.bursts import BLOCK, Request
from gambeson.errors import UserError
from gambeson.inference import Form, Served, serve
from gambeson.keys import stream
from gambeson.noise import lattice, parse
from gambeson.sampling import Counts, count, to_lattice
from gambeson.stats import score_bins

LEVELS, SHAPE, CLASSES = 255, (1, 4, 4), 3
GRID = lattice(parse("gaussian:0.25"), LEVELS)
ONE_HOT = torch.tensor([1.0, 0.0, 0.0])
WEIGHTS = torch.randint(-9, 10, (16, CLASSES), generator=torch.Generator().manual_seed(1)).float()


def exact(images: Tensor) -> Tensor:
    """Integer logits below 2^24: no rounding, hence the same for every batch size, thread count and machine."""
    return (images * LEVELS).round().flatten(1) @ WEIGHTS


def served(function=exact, batch: int = 200) -> Served:
    return serve(function, Form("float32", "contiguous", batch, torch.get_num_threads(), "cpu"))


def image(seed: int = 0) -> Tensor:
    return torch.randint(0, LEVELS + 1, SHAPE, generator=torch.Generator().manual_seed(seed))


def counts(batch: int = 200, draws: int = 1500, key: tuple = (0, "test", 7), seed: int = 0, function=exact):
    found = count(served(function, batch), image(seed), noise=GRID, draws=draws, key=key, classes=CLASSES)
    return found.classes.tolist()


def test_counts_are_those_of_a_plain_loop() -> None:
    expected = [0] * CLASSES
    for block in range(3):
        noise = torch.from_numpy(GRID.sample((BLOCK, *SHAPE), stream(0, "test", 7, block)))
        for offsets in noise[: 250 - block * BLOCK]:
            expected[int(exact(((image() + offsets) / LEVELS)[None]).argmax())] += 1
    assert counts(draws=250) == expected
    assert min(expected) > 0


@pytest.mark.parametrize("batch", [1, 7, 100, 200, 300, 700, 2000])
def test_the_batch_size_does_not_change_the_noise(batch: int) -> None:
    assert counts(batch, draws=801) == counts(100, draws=801)


def test_threads_do_not_change_the_noise() -> None:
    before = torch.get_num_threads()
    expected = counts()
    try:
        torch.set_num_threads(2)
        assert counts() == expected
    finally:
        torch.set_num_threads(before)


@pytest.mark.parametrize("cores", [1, 2, 4])
@pytest.mark.parametrize("burst", [1, 2**21])
def test_who_draws_does_not_change_the_noise(cores: int, burst: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """One core draws while the model waits, a second one, or several, while it is busy."""
    expected = [0] * CLASSES
    for number in range(8):
        cells = torch.from_numpy(GRID.sample((BLOCK, *SHAPE), stream(0, "test", 7, number)))
        for winner in exact((image() + cells) / LEVELS).argmax(1).tolist():
            expected[winner] += 1
    monkeypatch.setattr(bursts, "cores", lambda: cores)
    monkeypatch.setattr(bursts, "BURST", burst)
    one = serve(exact, Form("float32", "contiguous", 70, 1, "cpu"))
    found = count(one, image(), noise=GRID, draws=800, key=(0, "test", 7), classes=CLASSES)
    assert found.classes.tolist() == expected


def test_more_draws_continue_the_same_stream() -> None:
    """So that an image's first 700 draws are the same whether 700 or 1500 are asked for."""
    seen: dict[int, list[Tensor]] = {700: [], 1500: []}
    for draws, kept in seen.items():

        def keep(images: Tensor, kept: list[Tensor] = kept) -> Tensor:
            kept.append(images.clone())
            return exact(images)

        counts(100, draws, function=keep)
    assert torch.equal(torch.cat(seen[700]), torch.cat(seen[1500])[:700])


@pytest.mark.parametrize("draws", [1, 99, 100, 101, 1000])
@pytest.mark.parametrize("batch", [64, 200])
def test_counts_sum_to_draws(draws: int, batch: int) -> None:
    found = count(served(batch=batch), image(), noise=GRID, draws=draws, key=("sum",), classes=CLASSES)
    assert (int(found.classes.sum()), found.nonfinite, found.classes.dtype) == (draws, 0, np.int64)


@pytest.mark.parametrize("cut", [1, 99, 100, 250, 700])
def test_a_stream_goes_on_where_it_was_left(cut: int) -> None:
    options = {"noise": GRID, "key": (0, "test", 7), "classes": CLASSES}
    whole = count(served(), image(), draws=800, **options)
    parts = count(served(), image(), draws=cut, **options) + count(
        served(), image(), draws=800 - cut, first=cut, **options
    )
    assert parts.draws == 800
    assert parts.classes.tolist() == whole.classes.tolist()


def soft(images: Tensor) -> Tensor:
    return exact(images) / 500  # scores from nearly 0 to nearly 1


@pytest.mark.parametrize("batch", [7, 200, 1000])
def test_scores_are_those_of_a_plain_loop_and_leave_the_votes_alone(batch: int) -> None:
    noise = np.concatenate([GRID.sample((BLOCK, *SHAPE), stream(0, "test", 7, block)) for block in range(3)])[:250]
    expected = np.zeros(score_bins.BINS, np.int64)
    misses = score_bins.largest_misses()
    for offsets in torch.from_numpy(noise):
        score = soft(((image() + offsets) / LEVELS)[None]).double().softmax(1)[0]
        expected[np.searchsorted(misses, float(score[[0, 2]].sum()) * (1 + 1e-9))] += 1
    request = Request(image(), (0, "test", 7), 250, score=1)
    (found,) = sampling.counts(served(soft, batch), [request], noise=GRID, classes=CLASSES)
    assert found.scores is not None
    assert np.array_equal(found.scores, expected)
    assert np.count_nonzero(expected) > 50
    assert found.classes.tolist() == counts(draws=250, function=soft)


@pytest.mark.parametrize("batch", [100, 130])
def test_requests_with_and_without_scores_share_calls(batch: int) -> None:
    asked = [(0, 130, 2), (1, 50, None), (2, 700, 0), (3, 99, 2)]
    requests = [Request(image(n), ("company", n), draws, 0, score) for n, draws, score in asked]
    together = sampling.counts(served(soft, batch), requests, noise=GRID, classes=CLASSES)
    for request, found in zip(requests, together, strict=True):
        (alone,) = sampling.counts(served(soft), [request], noise=GRID, classes=CLASSES)
        assert (found.scores is None) == (request.score is None)
        assert found.scores is None or np.array_equal(found.scores, alone.scores)
        assert found.scores is None or int(found.scores.sum()) == request.draws
        assert found.classes.tolist() == alone.classes.tolist()


def test_scores_of_parts_add_up_to_those_of_the_whole() -> None:
    def run(draws: int, first: int) -> sampling.Counts:
        request = Request(image(), ("parts",), draws, first, 0)
        return sampling.counts(served(soft), [request], noise=GRID, classes=CLASSES)[0]

    whole, parts = run(800, 0), run(250, 0) + run(550, 250)
    assert whole.scores is not None
    assert np.array_equal(whole.scores, parts.scores)
    assert (Counts(whole.classes, 800) + whole).scores is None


def test_a_draw_without_finite_logits_scores_nothing() -> None:
    def broken(images: Tensor) -> Tensor:
        logits = soft(images)
        logits[::4, 0] = float("nan")
        return logits

    request = Request(image(), ("nan",), 1000, score=1)
    (found,) = sampling.counts(served(broken, 100), [request], noise=GRID, classes=CLASSES)
    assert found.nonfinite == 250
    assert found.scores is not None
    assert found.scores[-1] >= 250
    assert int(found.scores.sum()) == 1000


@pytest.mark.parametrize("batch", [7, 200, 1000])
def test_images_in_one_call_get_the_counts_that_they_get_alone(batch: int) -> None:
    requests = [
        Request(image(n), ("company", n), draws, first)
        for n, (draws, first) in enumerate([(130, 0), (1, 50), (700, 200), (99, 3)])
    ]
    together = sampling.counts(served(batch=batch), requests, noise=GRID, classes=CLASSES)
    for request, found in zip(requests, together, strict=True):
        (alone,) = sampling.counts(served(batch=100), [request], noise=GRID, classes=CLASSES)
        assert found.classes.tolist() == alone.classes.tolist()
        assert int(found.classes.sum()) == request.draws
    assert sampling.counts(served(), [], noise=GRID, classes=CLASSES) == []


def test_requests_share_calls() -> None:
    calls: list[int] = []

    def counted(images: Tensor) -> Tensor:
        calls.append(len(images))
        return exact(images)

    requests = [Request(image(n), ("few", n), 100) for n in range(8)]
    sampling.counts(served(counted, 400), requests, noise=GRID, classes=CLASSES)
    assert calls == [400, 400]


def test_other_keys_and_images_see_fresh_noise() -> None:
    noises = []
    for key in (("a", 0), ("a", 1), ("b", 0)):
        kept: list[Tensor] = []
        count(served(lambda x, kept=kept: kept.append(x.clone()) or exact(x), 100), image(),  # type: ignore[func-returns-value]
              noise=GRID, draws=100, key=key, classes=CLASSES)  # fmt: skip
        noises.append(kept[0].flatten())
    for first, second in ((0, 1), (0, 2), (1, 2)):
        assert (noises[first] == noises[second]).float().mean() < 0.05
    draws = noises[0].reshape(100, -1)
    assert len({tuple(row.tolist()) for row in draws}) == 100  # and every draw is another one


def test_the_model_sees_lattice_points_only() -> None:
    """The sum is formed in integers: every value is the float32 nearest to k / levels."""
    kept: list[Tensor] = []
    counts(100, 300, function=lambda x: kept.append(x.clone()) or exact(x))  # type: ignore[func-returns-value]
    seen = torch.cat(kept)
    cells = (seen.double() * LEVELS).round()
    assert torch.equal(seen, cells.float() / LEVELS)
    assert (cells - image()).abs().max() > 100
    assert cells.min() < 0 < 255 < cells.max()  # not clamped to the box


@pytest.mark.parametrize("scale", [0.5, 10.0])
@pytest.mark.parametrize("memory", ["contiguous", "channels_last"])
def test_one_cast_to_bfloat16_gives_the_bits_of_two(scale: float, memory: str) -> None:
    """Lattice integers (int16 and int32) go into the model's format: the bits of float32 k / levels, cast."""
    kept: list[Tensor] = []

    class Keep(torch.nn.Module):
        def forward(self, images: Tensor) -> Tensor:
            kept.append(images.clone())
            return images.flatten(1)[:, :CLASSES]

    model, shape = serve(Keep(), Form("bfloat16", memory, 100, torch.get_num_threads(), "cpu")), (3, 8, 8)
    noise, pixels = lattice(parse(f"gaussian:{scale}"), LEVELS), torch.randint(0, LEVELS + 1, shape)
    count(model, pixels, noise=noise, draws=100, key=("cast",), classes=CLASSES)
    by_pixel = torch.from_numpy(noise.sample((BLOCK, 8, 8, 3), stream("cast", 0)))
    cells = by_pixel.permute(0, 3, 1, 2).int() + pixels
    assert kept[0].dtype == torch.bfloat16
    assert torch.equal(kept[0], (cells.float() / LEVELS).bfloat16())


@pytest.mark.parametrize("cell", [-1, LEVELS + 1])
def test_cells_beyond_the_pixel_range_are_refused(cell: int) -> None:
    pixels = image()
    pixels[0, 1, 2] = cell
    with pytest.raises(UserError, match=rf"cells .*{cell}.* must be in 0\.\.255"):
        count(served(), pixels, noise=GRID, draws=10, key=("off",), classes=CLASSES)


def test_an_error_in_the_model_stops_the_loop() -> None:
    def broken(images: Tensor) -> Tensor:
        raise RuntimeError("out of order")

    with pytest.raises(RuntimeError, match="out of order"):
        counts(function=broken)


@pytest.mark.parametrize("broken", [float("nan"), float("inf"), -float("inf")])
def test_logits_that_are_not_finite_count_for_no_class(broken: float) -> None:
    def model(x: Tensor) -> Tensor:
        logits = exact(x)
        logits[::4, 1] = broken
        return logits

    found = count(served(model, 100), image(), noise=GRID, draws=1000, key=("nan",), classes=CLASSES)
    assert found.nonfinite == 250
    assert int(found.classes.sum()) == 750


@pytest.mark.parametrize("draws", [50, 130])
def test_rows_that_fill_a_call_up_are_not_counted(draws: int) -> None:
    """A call has always the form's number of rows; what is left over from the call before must not vote."""
    found = count(served(lambda x: exact(x) * float("nan"), 100), image(), noise=GRID, draws=draws, key=(), classes=3)
    assert found.nonfinite == draws


def test_an_image_off_the_lattice_is_refused() -> None:
    for wrong in (image() / 255, image()[None], image()[0]):
        with pytest.raises(UserError, match="lattice integers"):
            count(served(), wrong, noise=GRID, draws=10, key=(), classes=CLASSES)


@pytest.mark.parametrize("classes", [2, 4])
def test_another_number_of_classes_is_refused(classes: int) -> None:
    with pytest.raises(UserError, match=f"3 logits, the data has {classes} classes"):
        count(served(), image(), noise=GRID, draws=10, key=(), classes=classes)


def test_the_image_is_left_as_it_was() -> None:
    for kind in (torch.uint8, torch.int32, torch.int64):
        x = image().to(kind)
        first, again = (
            count(served(), x, noise=GRID, draws=100, key=("x",), classes=CLASSES).classes.tolist() for _ in range(2)
        )
        assert first == again
        assert torch.equal(x, image().to(kind))


@pytest.mark.parametrize("levels", [1, 16, 255])
def test_to_lattice_undoes_the_division(levels: int) -> None:
    cells = torch.arange(levels + 1)
    assert torch.equal(to_lattice(cells.float() / levels, levels), cells.int())
    assert torch.equal(to_lattice(cells.float() / levels + 0.4 / levels, levels), cells.int())


PROBE = """
import sys, torch
from gambeson.inference import Form, serve
from gambeson.noise import lattice, parse
from gambeson.sampling import count
model = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(3072, 10)).eval()
served = serve(model, Form("float32", "contiguous", 200, 1, "cpu"))
image = torch.zeros(3, 32, 32, dtype=torch.int32)
count(served, image, noise=lattice(parse("gaussian:0.5"), 255), draws=int(sys.argv[1]), key=("memory",), classes=10)
print(next(line for line in open("/proc/self/status") if line.startswith("VmHWM")))  # ru_maxrss is inherited
"""


def peak(draws: int) -> int:
    done = subprocess.run([sys.executable, "-c", PROBE, str(draws)], capture_output=True, text=True, check=True)
    return int(re.findall(r"\d+", done.stdout)[-1])


def test_memory_does_not_grow_with_draws() -> None:
    """300 MB of noise at 10,000 draws; a loop that kept it would need 1.5 times a bare torch process and more."""
    assert peak(10_000) <= 1.1 * peak(500)


@pytest.mark.long
def test_memory_does_not_grow_with_draws_large() -> None:
    assert peak(100_000) <= 1.5 * peak(1_000)


def test_blocks_that_followed_the_batch_would_be_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    """The mutant: one stream cut into batches instead of whole blocks."""

    def cut(requests, noise, rows, apart, drawn):
        (request,) = requests
        for start in range(0, request.draws, rows):
            here = min(rows, request.draws - start)
            sampled = noise.sample((here, *request.image.shape), stream(*request.key, start))
            cells = np.zeros((rows, *request.image.shape), np.int16)
            cells[:here] = sampled + request.image.numpy()
            yield bursts.Burst(cells, np.zeros(here, np.int64), 0)

    monkeypatch.setattr(bursts, "_bursts", cut)
    with pytest.raises(AssertionError):
        test_the_batch_size_does_not_change_the_noise(700)


@pytest.mark.parametrize("calls", [1, 2, 3, 4, 100])
@pytest.mark.parametrize("positions", ["alike", "mixture"])
def test_a_slice_ends_after_any_call_of_a_burst(calls: int, positions: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """What is counted until then, and the calls, are the same whether noise is made for one call or for all of them."""
    requests = [Request(image(n), ("burst", n), draws, first) for n, (draws, first) in enumerate(
        [(130, 0), (50, 70), (700, 0)])]  # fmt: skip
    found = []
    for burst in (1, 3 * 100 * 16, 2**21):
        monkeypatch.setattr(bursts, "BURST", burst)
        left = iter(range(calls))
        model = serve(exact, Form("float32", "contiguous", 100, torch.get_num_threads()), positions)
        counted = sampling.counts(
            model, requests, noise=GRID, classes=CLASSES, over=lambda left=left: next(left) == calls - 1
        )  # fmt: skip
        found.append([(one.draws, one.classes.tolist()) for one in counted])
    assert found[0] == found[1] == found[2]
    seen = [draws for draws, _ in found[0]]
    if calls == 100:
        assert seen == [130, 50, 700]
    elif positions == "alike":
        assert sum(seen) == 100 * calls
    else:  # 130 in two calls, 50 from row 70 on in the next two
        assert seen == [[100, 0, 0], [130, 0, 0], [130, 30, 0], [130, 50, 0]][calls - 1]


def row_by_row(images: Tensor) -> Tensor:
    """Class 1 in odd rows, 0 in even ones, whatever the image."""
    odd = (torch.arange(len(images)) % 2)[:, None].float()
    return torch.cat([1 - odd, odd, torch.zeros_like(odd)], 1)


def test_where_rows_differ_every_image_fills_them_equally() -> None:
    """Ten images of 40 draws in calls of 20: together they would share the calls unevenly with one of 7 draws first."""
    mixture = serve(row_by_row, Form("float32", "contiguous", 20, torch.get_num_threads()), "mixture")
    requests = [Request(image(n), ("mixture", n), draws) for n, draws in enumerate([7, *[40] * 10])]
    first, *others = sampling.counts(mixture, requests, noise=GRID, classes=CLASSES)
    assert first.classes.tolist() == [4, 3, 0]
    assert [found.classes.tolist() for found in others] == [[20, 20, 0]] * 10


@pytest.mark.parametrize("cut", [1, 33, 100, 140])
def test_where_rows_differ_a_stream_goes_on_in_the_row_where_it_was_left(cut: int) -> None:
    mixture = serve(
        lambda x: exact(x) * (1 + torch.arange(len(x)) % 3)[:, None] - torch.arange(len(x))[:, None] * 1000 * ONE_HOT,
        Form("float32", "contiguous", 30, torch.get_num_threads()), "mixture",
    )  # fmt: skip
    options = {"noise": GRID, "key": (0, "rows", 7), "classes": CLASSES}
    whole = count(mixture, image(), draws=150, **options)
    parts = count(mixture, image(), draws=cut, **options) + count(
        mixture, image(), draws=150 - cut, first=cut, **options
    )
    assert parts.classes.tolist() == whole.classes.tolist()
    assert whole.classes.tolist() != count(served(), image(), draws=150, **options).classes.tolist()
