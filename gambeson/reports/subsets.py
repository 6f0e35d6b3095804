"""Which images results are about: what is on the same images may be compared, what is not is told apart by name."""

from collections.abc import Sequence

from gambeson.reports.series import Images


def same_images(a: Images, b: Images) -> bool:
    """Whether a and b hold the same images: by index, and by content hash, or label where one is a log that holds no
    hashes (train and test, and two data sets, have the same indices)."""
    hashes = a.hash is not None and b.hash is not None
    first, second = (sorted(zip(x.index, (x.hash or ()) if hashes else x.label, strict=True)) for x in (a, b))
    return first == second


def alike(found: Sequence[Images]) -> list[int]:
    """For each, the place of the first that holds the same images: equal numbers may be compared."""
    return [next(place for place, other in enumerate(found) if same_images(other, images)) for images in found]


def differing(found: Sequence[Images]) -> list[str]:
    """The name of each one's images where they are not all the same; else nothing needs to be said: empty texts."""
    return [""] * len(found) if len(set(alike(found))) <= 1 else [subset_name(images) for images in found]


def subset_name(images: Images) -> str:
    """How many images, and by which rule they were chosen: "100 images (every 20th test image)"."""
    return images_name(images.total) + (f" ({images.rule})" if images.rule else "")


def images_name(total: int) -> str:
    """
    >>> images_name(1), images_name(50)
    ('1 image', '50 images')
    """
    return f"{total} image" if total == 1 else f"{total} images"


def joined(*parts: str) -> str:
    """The parts that say something, in one name."""
    return ", ".join(part for part in parts if part)
