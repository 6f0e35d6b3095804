"""What the publishers offer: files, addresses and checksums."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Remote:
    """One published file: where it is, its md5 as published, and the members to unpack when it is an archive."""

    file: str
    md5: str
    urls: tuple[str, ...]
    content: str = ""  # md5 of the uncompressed bytes: the same data compressed again is as good
    members: tuple[str, ...] = ()


def _idx(bases: tuple[str, ...], table: dict[str, tuple[str, str]]) -> tuple[Remote, ...]:
    files = {f"{stem}-ubyte.gz": sums for stem, sums in table.items()}
    return tuple(Remote(file, md5, tuple(base + file for base in bases), raw) for file, (md5, raw) in files.items())


REMOTES = {
    # the publisher's own server refuses most downloads, so two mirrors with the same bytes come first
    "mnist": _idx(
        (
            "https://ossci-datasets.s3.amazonaws.com/mnist/",
            "https://storage.googleapis.com/cvdf-datasets/mnist/",
            "http://yann.lecun.com/exdb/mnist/",
        ),
        {
            "train-images-idx3": ("f68b3c2dcbeaaa9fbdd348bbdeb94873", "6bbc9ace898e44ae57da46a324031adb"),
            "train-labels-idx1": ("d53e105ee54ea40749a09fcbcd1e9432", "a25bea736e30d166cdddb491f175f624"),
            "t10k-images-idx3": ("9fb629c4189551a2d022fa330f9573f3", "2646ac647ad5339dbf082846283269ea"),
            "t10k-labels-idx1": ("ec29112dd5afa0611ce80d1b7f02629c", "27ae3e4e09519cfbb04c329615203637"),
        },
    ),
    "fashion-mnist": _idx(
        (
            "http://fashion-mnist.s3-website.eu-central-1.amazonaws.com/",
            "https://raw.githubusercontent.com/zalandoresearch/fashion-mnist/master/data/fashion/",
        ),
        {
            "train-images-idx3": ("8d4fb7e6c68d591d4c3dfef9ec88bf0d", "f4a8712d7a061bf5bd6d2ca38dc4d50a"),
            "train-labels-idx1": ("25c81989df183df01b3e8a0aad5dffbe", "9018921c3c673c538a1fc5bad174d6f9"),
            "t10k-images-idx3": ("bef4ecab320f06d8554ea6380940ec79", "8181f5470baa50b63fa0f6fddb340f0a"),
            "t10k-labels-idx1": ("bb300cfdad3c16e7a12a480ee83cd310", "15d484375f8d13e6eb1aabb0c3f46965"),
        },
    ),
    # the binary version: the Python version is pickles
    "cifar10": (
        Remote(
            "cifar-10-binary.tar.gz",
            "c32a1d4ab5d03f1284b67883e8d87530",
            ("https://www.cs.toronto.edu/~kriz/cifar-10-binary.tar.gz",),
            members=tuple(
                f"cifar-10-batches-bin/{batch}.bin"
                for batch in (*(f"data_batch_{i}" for i in range(1, 6)), "test_batch")
            ),
        ),
    ),
}
