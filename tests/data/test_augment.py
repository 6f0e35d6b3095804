"""Augmentation: every output is one of the possible crops, exactly."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from gambeson.data import augment
from gambeson.errors import UserError

MODES = {"zeros": "constant", "reflect": "reflect"}


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def crops(image: torch.Tensor, crop: int, flip: bool, padding: str) -> list[bytes]:
    """All crops of one image, by NumPy's padding."""
    height, width = image.shape[1:]
    padded = np.pad(image.numpy(), ((0, 0), (crop, crop), (crop, crop)), mode=MODES[padding])
    places = [
        padded[:, top : top + height, left : left + width]
        for top in range(2 * crop + 1)
        for left in range(2 * crop + 1)
    ]
    mirrored = [place[:, :, ::-1] for place in places] if flip else []
    return [place.tobytes() for place in places + mirrored]


@settings(max_examples=40, deadline=None)
@given(
    crop=st.integers(0, 6),
    flip=st.booleans(),
    padding=st.sampled_from(list(MODES)),
    size=st.tuples(st.integers(1, 6), st.integers(1, 6)),
    seed=st.integers(0, 99),
    floats=st.booleans(),
)
def test_every_output_is_one_of_the_possible_crops(crop, flip, padding, size, seed, floats):
    if padding == "reflect" and crop >= min(size):
        return
    images = torch.randint(0, 256, (4, 3, *size), generator=seeded(seed), dtype=torch.uint8)
    images = images.float() / 255 if floats else images
    out = augment(images, crop=crop, flip=flip, generator=seeded(seed), padding=padding)
    assert out.dtype == images.dtype
    for before, after in zip(images, out, strict=True):
        assert after.numpy().tobytes() in crops(before, crop, flip, padding)


def test_every_crop_and_flip_occurs_about_equally_often():
    image = torch.arange(1, 10, dtype=torch.float32).reshape(1, 1, 3, 3)
    draws = 18 * 400
    out = augment(image.expand(draws, 1, 3, 3), crop=1, flip=True, generator=seeded())
    possible = crops(image[0], 1, True, "zeros")
    assert len(set(possible)) == 18
    seen = [sample.numpy().tobytes() for sample in out]
    counts = np.array([seen.count(crop) for crop in possible])
    assert counts.sum() == draws
    # chi-square with 17 degrees of freedom: below 48 with probability 0.9999; the seed is fixed
    assert ((counts - 400) ** 2 / 400).sum() < 48


def test_images_of_a_batch_are_moved_independently():
    image = torch.arange(25.0).reshape(1, 1, 5, 5).expand(50, 1, 5, 5)
    out = augment(image, crop=2, flip=True, generator=seeded())
    assert len({sample.numpy().tobytes() for sample in out}) > 20


def test_flip_alone_is_the_image_or_its_mirror_and_twice_is_the_image():
    images = torch.rand(40, 3, 4, 5, generator=seeded())
    once = augment(images, crop=0, flip=True, generator=seeded(1))
    mirrored = (once != images).flatten(1).any(1)
    assert 0 < int(mirrored.sum()) < 40
    assert torch.equal(once[mirrored], images[mirrored].flip(-1))
    assert torch.equal(augment(once, crop=0, flip=True, generator=seeded(1)), images)


def test_no_crop_and_no_flip_is_a_copy():
    images = torch.rand(3, 1, 4, 4, generator=seeded())
    out = augment(images, crop=0, flip=False, generator=seeded())
    assert torch.equal(out, images)
    assert out.data_ptr() != images.data_ptr()


def test_the_generator_is_the_only_randomness():
    images = torch.rand(16, 3, 8, 8, generator=seeded())
    state = torch.get_rng_state()
    same = [augment(images, crop=2, flip=True, generator=seeded(5)) for _ in range(2)]
    other = augment(images, crop=2, flip=True, generator=seeded(6))
    assert torch.equal(same[0], same[1])
    assert not torch.equal(same[0], other)
    assert torch.equal(torch.get_rng_state(), state)


def test_a_generator_goes_on_so_two_epochs_differ():
    images, generator = torch.rand(16, 3, 8, 8, generator=seeded()), seeded()
    first, second = (augment(images, crop=2, flip=True, generator=generator) for _ in range(2))
    assert not torch.equal(first, second)


def test_empty_batch():
    assert augment(torch.zeros(0, 3, 4, 4), crop=2, flip=True, generator=seeded()).shape == (0, 3, 4, 4)


@pytest.mark.parametrize(
    ("crop", "padding", "message"),
    [(-1, "zeros", "crop is -1"), (4, "reflect", "crop is 4.*< 4"), (1, "wrap", "padding is 'wrap'.*zeros, reflect")],
)
def test_refuses_what_cannot_be_done(crop, padding, message):
    with pytest.raises(UserError, match=message):
        augment(torch.zeros(1, 1, 4, 5), crop=crop, flip=False, generator=seeded(), padding=padding)
