"""CIFAR-10: three forms, one data set; every way in which a part can be wrong; a pickle executes nothing."""

import os
import pickle
import struct
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from pyarrow import parquet

from gambeson.data import load
from gambeson.data.cifar import SIZES
from gambeson.data.pickled import pickled
from gambeson.errors import UserError

ROWS = 4  # in a made-up batch
TRAIN = [f"data_batch_{part}" for part in range(1, 6)]


@pytest.fixture(autouse=True)
def small(request, monkeypatch):
    """Published sizes for the real data, small ones for made-up files."""
    if "real" not in request.fixturenames:
        for key, size in (("batch", ROWS), ("train", 5 * ROWS), ("test", ROWS)):
            monkeypatch.setitem(SIZES, key, size)


def images(batch: int) -> np.ndarray:
    return np.random.default_rng(batch).integers(0, 256, (ROWS, 3, 32, 32)).astype(np.uint8)


def labels(batch: int) -> list[int]:
    return [(3 * batch + row) % 10 for row in range(ROWS)]


def as_binary(batch: int) -> bytes:
    return b"".join(bytes([y]) + x.tobytes() for x, y in zip(images(batch), labels(batch), strict=True))


def as_python_2(data: np.ndarray, values: list[int]) -> bytes:
    """A batch as Python 2 wrote it, opcode by opcode (protocol 2, byte strings)."""
    shape = b"K\x01(K" + bytes([data.shape[0]]) + b"M" + struct.pack("<H", data.shape[1]) + b"t"
    kind = b"cnumpy\ndtype\n(U\x02u1K\x00K\x01tR(K\x03U\x01|NNNJ\xff\xff\xff\xffJ\xff\xff\xff\xffK\x00tb"
    array = b"cnumpy.core.multiarray\n_reconstruct\n(cnumpy\nndarray\n(K\x00tU\x01btR("
    array += shape + kind + b"\x89T" + struct.pack("<I", data.nbytes) + data.tobytes() + b"tb"
    listed = b"](" + b"".join(b"K" + bytes([value]) for value in values) + b"e"
    return b"\x80\x02}(U\x06labels" + listed + b"U\x04data" + array + b"u."


def as_python_3(data: np.ndarray, values: list[int], protocol: int = 2) -> bytes:
    return pickle.dumps({"data": data, "labels": values}, protocol=protocol)


def table(png, batch: int, **columns) -> pa.Table:
    rows = [{"bytes": png(x.transpose(1, 2, 0)), "path": f"{i}.png"} for i, x in enumerate(images(batch))]
    return pa.table({"img": rows, "label": labels(batch)} | columns)


def write_binary(folder: Path) -> Path:
    for batch, name in enumerate([*TRAIN, "test_batch"]):
        (folder / f"{name}.bin").write_bytes(as_binary(batch))
    return folder


def write_python(folder: Path, encode=as_python_2) -> Path:
    for batch, name in enumerate([*TRAIN, "test_batch"]):
        (folder / name).write_bytes(encode(images(batch).reshape(ROWS, -1), labels(batch)))
    return folder


def write_parquet(folder: Path, png) -> Path:
    pieces = pa.concat_tables([table(png, batch) for batch in range(5)])
    for part, (start, stop) in enumerate(((0, 7), (7, 20))):
        parquet.write_table(pieces.slice(start, stop - start), folder / f"train-{part:05d}-of-00002.parquet")
    parquet.write_table(table(png, 5), folder / "test-00000-of-00001.parquet")
    return folder


def refused(folder: Path, split: str = "test") -> str:
    with pytest.raises(UserError) as caught:
        load("cifar10", split, data_dir=folder)
    return str(caught.value)


@pytest.mark.parametrize("form", ["binary", "python 2", "python 3", "parquet"])
@pytest.mark.parametrize("split", ["train", "test"])
def test_every_form_gives_the_same_rows_in_the_same_order(tmp_path, png, form, split):
    if form == "binary":
        write_binary(tmp_path)
    elif form == "parquet":
        write_parquet(tmp_path, png)
    else:
        write_python(tmp_path, as_python_2 if form == "python 2" else as_python_3)
    data = load("cifar10", split, data_dir=tmp_path)
    batches = range(5) if split == "train" else [5]
    assert np.array_equal(data.images.numpy(), np.concatenate([images(batch) for batch in batches]))
    assert data.labels.tolist() == [value for batch in batches for value in labels(batch)]
    assert data.indices.tolist() == list(range(len(data)))


@pytest.mark.parametrize("inner", ["cifar10/cifar-10-batches-bin", "cifar-10-batches-bin", "cifar10"])
def test_the_archives_own_folder_is_found(tmp_path, inner):
    (tmp_path / inner).mkdir(parents=True)
    write_binary(tmp_path / inner)
    assert len(load("cifar10", "train", data_dir=tmp_path)) == 5 * ROWS


def test_nothing_there(tmp_path):
    message = refused(tmp_path, "train")
    assert "train-*.parquet" in message
    assert "data_batch_1.bin" in message
    assert "gambeson data fetch cifar10" in message


@pytest.mark.parametrize("write", [write_binary, write_python])
def test_a_missing_batch_is_named(tmp_path, write):
    write(tmp_path)
    suffix = ".bin" if write is write_binary else ""
    (tmp_path / f"data_batch_3{suffix}").unlink()
    assert f"data_batch_3{suffix} is missing" in refused(tmp_path, "train")


@pytest.mark.parametrize("size", [0, 100, 3 * 3073, 4 * 3073 - 1, 4 * 3073 + 1, 5 * 3073])
def test_truncated_binary_says_how_many_rows_it_has(tmp_path, size):
    write_binary(tmp_path)
    file = tmp_path / "test_batch.bin"
    file.write_bytes((as_binary(5) * 2)[:size])
    message = refused(tmp_path)
    assert f"{file}: truncated" in message
    assert f"found {size // 3073} rows" in message


def test_mislabelled_binary_names_file_and_row(tmp_path):
    write_binary(tmp_path)
    content = bytearray(as_binary(2))
    content[2 * 3073] = 10
    (tmp_path / "data_batch_3.bin").write_bytes(bytes(content))
    assert f"{tmp_path / 'data_batch_3.bin'}, row 2: label 10 is outside 0..9" in refused(tmp_path, "train")


class Attack:
    """Pickled, it asks for a function to be called when it is read."""

    def __init__(self, function, *arguments):
        self.call = function, arguments

    def __reduce__(self):
        return self.call


@pytest.mark.parametrize("protocol", range(6))
def test_a_pickle_that_asks_for_code_is_refused_and_does_nothing(tmp_path, protocol):
    mark = tmp_path / "executed"
    file = tmp_path / "test_batch"
    for attack in (
        Attack(os.system, f"touch {mark}"),
        Attack(eval, f"open({str(mark)!r}, 'w')"),
        Attack(open, str(mark), "w"),
    ):
        content = pickle.dumps({b"data": attack, b"labels": []}, protocol=protocol)
        file.write_bytes(content)
        message = refused(tmp_path)
        assert "which is refused" in message
        assert str(file) in message
        assert not mark.exists()
        if attack.call[0] is open:  # the same bytes do act when they are trusted: the attack is a real one
            pickle.loads(content)[b"data"].close()
            assert mark.exists()


@pytest.mark.parametrize(
    "name",
    [b"numpy\nload", b"numpy.core.multiarray\nfromfile", b"builtins\ngetattr", b"numpy\nndarray.tofile", b"os\nsystem"],
)
def test_only_the_names_that_build_an_array_are_known(tmp_path, name):
    file = tmp_path / "batch"
    file.write_bytes(b"\x80\x02c" + name + b"\n.")
    with pytest.raises(UserError, match="refused"):
        pickled(file)


def test_state_given_to_a_stand_in_cannot_reach_the_next_file(tmp_path):
    # BUILD on what "numpy ndarray" and "numpy dtype" stand for
    for name in (b"numpy\nndarray", b"numpy\ndtype", b"_codecs\nencode"):
        (tmp_path / "bad").write_bytes(b"\x80\x02c" + name + b"\n}(U\x05arrayK\x01ub.")
        with pytest.raises(UserError):
            pickled(tmp_path / "bad")
    write_python(tmp_path)
    assert len(load("cifar10", "test", data_dir=tmp_path)) == ROWS


@pytest.mark.parametrize(
    "content", [b"", b"\x80\x02", b"garbage", b"\x80\x02](K\x01e.", b"\x80\x02K\x01.", b"\x80\x02}(K\x01"]
)
def test_damaged_pickle(tmp_path, content):
    (tmp_path / "test_batch").write_bytes(content)
    assert str(tmp_path / "test_batch") in refused(tmp_path)


def test_truncated_pickle(tmp_path):
    write_python(tmp_path)
    file = tmp_path / "test_batch"
    file.write_bytes(file.read_bytes()[:-500])
    assert f"{file}: not a plain pickled batch" in refused(tmp_path)


@pytest.mark.parametrize(
    ("data", "values", "message"),
    [
        (np.zeros((4, 3071), np.uint8), [0] * 4, r"data is \(4, 3071\)"),
        (np.zeros((4, 3072), np.uint8), [0] * 3, "4 images but 3 labels"),
        (np.zeros((4, 3072), np.uint8), [0, 1, 99, 3], "test_batch, row 2: label 99 is outside 0..9"),
        (np.zeros((3, 3072), np.uint8), [0] * 3, "3 test images, 4 were published"),
        (np.zeros((4, 3072), np.float32), [0] * 4, "not uint8"),
        (np.zeros((4, 3072), object), [0] * 4, "not uint8"),
        ([0] * 4, [0] * 4, "data is not an array"),
        (np.zeros((4, 3072), np.uint8), [0, 1, "2", 3], "row 2: the label is"),
        (np.zeros((4, 3072), np.uint8), None, "labels is a NoneType"),
    ],
)
def test_python_batch_of_another_shape(tmp_path, data, values, message):
    (tmp_path / "test_batch").write_bytes(as_python_3(data, values))
    with pytest.raises(UserError, match=message):
        load("cifar10", "test", data_dir=tmp_path)


def test_damaged_parquet(tmp_path, png):
    write_parquet(tmp_path, png)
    file = tmp_path / "test-00000-of-00001.parquet"
    for content in (b"", b"PAR1", file.read_bytes()[:-20], b"<html></html>"):
        file.write_bytes(content)
        with pytest.raises(UserError, match="not a readable Parquet file") as caught:
            load("cifar10", "test", data_dir=tmp_path)
        assert str(file) in str(caught.value)
        assert caught.value.__cause__ is not None


def test_parquet_with_a_part_missing_or_of_another_set(tmp_path, png):
    write_parquet(tmp_path, png)
    (tmp_path / "train-00002-of-00003.parquet").write_bytes(b"")
    assert "train-00002-of-00003.parquet does not belong" in refused(tmp_path, "train")
    (tmp_path / "train-00002-of-00003.parquet").unlink()
    (tmp_path / "train-00001-of-00002.parquet").unlink()
    assert "train-00001-of-00002.parquet is missing" in refused(tmp_path, "train")


def refused_table(tmp_path: Path, rows: pa.Table) -> str:
    parquet.write_table(rows, tmp_path / "test-00000-of-00001.parquet")
    return refused(tmp_path)


def test_parquet_without_a_column(tmp_path, png):
    for column in ("img", "label"):
        message = refused_table(tmp_path, table(png, 5).drop_columns([column]))
        assert f"column {column} is missing" in message


def test_parquet_with_columns_of_another_type(tmp_path, png):
    assert "wanted: struct with bytes, and integer" in refused_table(tmp_path, table(png, 5, label=["cat"] * ROWS))
    assert "wanted: struct with bytes, and integer" in refused_table(tmp_path, table(png, 5, img=[b"x"] * ROWS))


def test_parquet_rows_are_named(tmp_path, png):
    file = f"{tmp_path / 'test-00000-of-00001.parquet'}, row 2"
    good = table(png, 5)["img"].to_pylist()

    def replaced(content: bytes | None) -> list:
        return [*good[:2], {"bytes": content, "path": ""}, good[3]]

    whole = good[2]["bytes"]
    assert f"{file}: img is empty" in refused_table(tmp_path, table(png, 5, img=replaced(None)))
    assert f"{file}: label is empty" in refused_table(tmp_path, table(png, 5, label=[0, 1, None, 3]))
    assert f"{file}: label 10 is outside 0..9" not in refused_table(tmp_path, table(png, 5, label=[0, 1, -1, 10]))
    assert ", row 2: label -1 is outside 0..9" in refused_table(tmp_path, table(png, 5, label=[0, 1, -1, 10]))
    for damaged in (b"", b"GIF89a", whole[:200], whole[:60], whole[:100] + bytes(50) + whole[150:]):
        assert f"{file}: the picture cannot be read" in refused_table(tmp_path, table(png, 5, img=replaced(damaged)))
    other = np.zeros((32, 31, 3), np.uint8)
    assert f"{file}: the picture is 31x32 RGB but 32x32 RGB in" in refused_table(
        tmp_path, table(png, 5, img=replaced(png(other)))
    )
    grey = png(np.zeros((32, 32), np.uint8))
    assert f"{file}: the picture is 32x32 L but" in refused_table(tmp_path, table(png, 5, img=replaced(grey)))
    palette = png(np.zeros((32, 32, 3), np.uint8), "P")
    assert f"{file}: the mode is P" in refused_table(tmp_path, table(png, 5, img=replaced(palette)))


def test_parquet_of_another_data_set(tmp_path, png):
    grey = [{"bytes": png(np.zeros((28, 28), np.uint8)), "path": ""}] * ROWS
    assert "the image is (1, 28, 28); CIFAR-10 is (3, 32, 32)" in refused_table(tmp_path, table(png, 5, img=grey))


def test_parquet_with_rows_missing(tmp_path, png):
    assert "3 test images, 4 were published" in refused_table(tmp_path, table(png, 5).slice(0, 3))


def test_real_cifar10_test(real):
    data = load("cifar10", "test", data_dir=real("cifar10"))
    assert data.labels.bincount().tolist() == [1000] * 10
    # file names of the first rows of test_batch: domestic_cat_s_000907, hydrofoil_s_000078, sea_boat_s_001456
    assert [data.classes[label] for label in data.labels[:3]] == ["cat", "ship", "ship"]


def test_real_cifar10_train_has_the_published_channel_means(real):
    data = load("cifar10", "train", data_dir=real("cifar10"))
    assert data.labels.bincount().tolist() == [5000] * 10
    counts = [np.bincount(data.images[:, channel].flatten().numpy(), minlength=256) for channel in range(3)]
    values = np.arange(256) / 255
    means = [float((count * values).sum() / count.sum()) for count in counts]
    squares = [float((count * values**2).sum() / count.sum()) for count in counts]
    assert [round(mean, 4) for mean in means] == [0.4914, 0.4822, 0.4465]
    stds = [(square - mean**2) ** 0.5 for mean, square in zip(means, squares, strict=True)]
    assert [round(std, 4) for std in stds] == [0.2470, 0.2435, 0.2616]
