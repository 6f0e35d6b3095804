"""The strongest evidence for our CIFAR-10 reader: what it reads rebuilds the publisher's six files byte for byte."""

import hashlib
import struct
from itertools import count

import pytest
from pyarrow import parquet

from gambeson.data import load
from gambeson.data.pickled import pickled

# published with the Python version of CIFAR-10
MD5 = {
    "training batch 1 of 5": "c99cafc152244af753f735de768cd75f",
    "training batch 2 of 5": "d4bba439e000b95fd0a9bffe97cbabec",
    "training batch 3 of 5": "54ebc095f3ab1f0389bbae665268c751",
    "training batch 4 of 5": "634d18415352ddfa80567beed471001a",
    "training batch 5 of 5": "482c414d41f54cd18b22e5b47cb7c3cb",
    "testing batch 1 of 1": "40351d587109b95175f43aff81a1287e",
}


def original(title: str, labels: list[int], data: bytes, names: list[str]) -> bytes:
    """A batch as Python 2's cPickle wrote it (protocol 2), with its memo numbers."""
    numbers = count(1)

    def memo(content: bytes) -> bytes:
        number = next(numbers)
        return content + (b"q" + bytes([number]) if number < 256 else b"r" + struct.pack("<I", number))

    def word(content: str) -> bytes:
        return memo(b"U" + bytes([len(content)]) + content.encode())

    out = bytearray(b"\x80\x02" + memo(b"}") + b"(" + word("batch_label") + word(title) + word("labels") + memo(b"]"))
    for start in range(0, len(labels), 1000):
        out += b"(" + b"".join(b"K" + bytes([label]) for label in labels[start : start + 1000]) + b"e"
    out += word("data") + memo(b"cnumpy.core.multiarray\n_reconstruct\n") + memo(b"cnumpy\nndarray\n")
    out += memo(b"K\x00\x85U\x01b\x87R") + b"(K\x01M" + struct.pack("<H", len(labels)) + b"M\x00\x0c\x86"
    out += memo(b"cnumpy\ndtype\n") + memo(b"U\x02u1K\x00K\x01\x87R")
    out += (
        b"(K\x03U\x01|NNNJ\xff\xff\xff\xffJ\xff\xff\xff\xffK\x00tb\x89T" + struct.pack("<I", len(data)) + data + b"tb"
    )
    out += word("filenames") + memo(b"]")
    for start in range(0, len(names), 1000):
        out += b"(" + b"".join(map(word, names[start : start + 1000])) + b"e"
    return bytes(out + b"u.")


@pytest.mark.long
@pytest.mark.parametrize("split", ["train", "test"])
def test_rows_rebuild_the_published_python_batches(real, split, tmp_path):
    root = real("cifar10")
    files = sorted((root / "cifar10").glob(f"{split}-*.parquet"))
    if not files:
        pytest.skip("the file names are only in the Parquet form")
    names = [row["path"] for file in files for row in parquet.read_table(file)["img"].to_pylist()]
    data = load("cifar10", split, data_dir=root)
    for batch in range(len(data) // 10_000):
        title = f"training batch {batch + 1} of 5" if split == "train" else "testing batch 1 of 1"
        rows = slice(10_000 * batch, 10_000 * (batch + 1))
        pixels = data.images[rows].numpy().tobytes()
        content = original(title, data.labels[rows].tolist(), pixels, names[rows])
        assert hashlib.md5(content).hexdigest() == MD5[title], title
        (tmp_path / "batch").write_bytes(content)  # so this is the publisher's pickle: our unpickler reads it
        read = pickled(tmp_path / "batch")
        assert (read[b"labels"], read[b"data"].tobytes()) == (data.labels[rows].tolist(), pixels)
