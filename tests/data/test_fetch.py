"""Downloads from a server of our own: checked, resumed, and explained when they fail."""

import gzip
import hashlib
import io
import os
import tarfile
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from gambeson.data import fetch
from gambeson.data.remotes import REMOTES, Remote
from gambeson.errors import UserError

RAW = bytes(range(256)) * 40
PACKED = gzip.compress(RAW, mtime=0)


def md5(content: bytes) -> str:
    return hashlib.md5(content).hexdigest()


@pytest.fixture
def server():
    """A server with `.files`, `.asked` (path, range) and `.cut` (end the connection after so many bytes)."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self):
            held, name = self.server, self.path.lstrip("/")
            held.asked.append((name, self.headers["Range"]))
            if name not in held.files:
                self.send_error(404, "gone")
                return
            content, start = held.files[name], 0
            if self.headers["Range"] and held.ranges:
                start = int(self.headers["Range"].removeprefix("bytes=").rstrip("-"))
                if start >= len(content):
                    self.send_error(416)
                    return
            self.send_response(206 if start else 200)
            self.send_header("Content-Length", str(len(content) - start))
            self.end_headers()
            self.wfile.write(content[start:][: held.cut])

        def log_message(self, *_):
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as held:
        held.files, held.asked, held.cut, held.ranges = {"set.gz": PACKED}, [], None, True
        held.url = f"http://127.0.0.1:{held.server_port}/"
        threading.Thread(target=held.serve_forever, daemon=True).start()
        yield held
        held.shutdown()


@pytest.fixture
def remote(server, monkeypatch):
    """Registers one made-up file, `set.gz`, under the name "made-up"."""

    def register(**change) -> None:
        settings = {"file": "set.gz", "md5": md5(PACKED), "urls": (f"{server.url}set.gz",), "content": md5(RAW)}
        monkeypatch.setitem(REMOTES, "made-up", (Remote(**(settings | change)),))

    register()
    return register


def test_downloads_once(server, remote, tmp_path):
    seen = []
    folder = fetch("made-up", tmp_path, on_progress=lambda *step: seen.append(step))
    assert folder == tmp_path / "made-up"
    assert [path.name for path in folder.iterdir()] == ["set.gz"]
    assert (folder / "set.gz").read_bytes() == PACKED
    assert seen[-1] == ("set.gz", len(PACKED), len(PACKED))
    fetch("made-up", tmp_path)
    assert len(server.asked) == 1


def test_goes_where_load_looks_first(server, remote, tmp_path, monkeypatch):
    assert fetch("made-up") == tmp_path / "cache" / "gambeson" / "made-up"
    monkeypatch.setenv("GAMBESON_DATA", str(tmp_path / "data"))
    assert fetch("made-up") == tmp_path / "data" / "made-up"


def test_a_cut_connection_keeps_its_part_and_is_resumed(server, remote, tmp_path):
    server.cut = 100
    with pytest.raises(UserError, match=f"ended after 100 of {len(PACKED)} bytes; run it again to resume"):
        fetch("made-up", tmp_path)
    assert not (tmp_path / "made-up" / "set.gz").exists()
    server.cut = None
    fetch("made-up", tmp_path)
    assert server.asked[-1] == ("set.gz", "bytes=100-")
    assert [path.name for path in (tmp_path / "made-up").iterdir()] == ["set.gz"]
    assert (tmp_path / "made-up" / "set.gz").read_bytes() == PACKED


def left(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "made-up").mkdir()
    (tmp_path / "made-up" / "set.gz.part").write_bytes(content)


@pytest.mark.parametrize("content", [b"x" * 50, b"x" * len(PACKED), b"x" * 20_000])
@pytest.mark.parametrize("ranges", [True, False])
def test_a_wrong_part_is_thrown_away_and_fetched_anew(server, remote, tmp_path, content, ranges):
    server.ranges = ranges
    left(tmp_path, content)
    fetch("made-up", tmp_path)
    assert (tmp_path / "made-up" / "set.gz").read_bytes() == PACKED


def test_a_finished_part_needs_no_server(server, remote, tmp_path):
    left(tmp_path, PACKED)
    fetch("made-up", tmp_path)
    assert server.asked == []
    assert (tmp_path / "made-up" / "set.gz").read_bytes() == PACKED


def test_wrong_checksum_is_never_kept(server, remote, tmp_path):
    server.files["set.gz"] = b"<html>moved</html>"
    with pytest.raises(UserError, match="wrong checksum: md5 ") as caught:
        fetch("made-up", tmp_path)
    assert md5(PACKED) in str(caught.value)
    assert list((tmp_path / "made-up").iterdir()) == []


def test_the_next_mirror_is_asked(server, remote, tmp_path):
    server.files["bad.gz"] = b"bad"
    urls = tuple(f"{server.url}{name}" for name in ("none.gz", "bad.gz", "set.gz"))
    remote(urls=urls)
    fetch("made-up", tmp_path)
    assert (tmp_path / "made-up" / "set.gz").read_bytes() == PACKED


def test_without_a_network_the_message_says_what_to_put_where(server, remote, tmp_path):
    remote(urls=("http://127.0.0.1:9/set.gz", f"{server.url}none.gz"))
    with pytest.raises(UserError) as caught:
        fetch("made-up", tmp_path)
    for part in ("http://127.0.0.1:9/set.gz", "none.gz", "gone", str(tmp_path / "made-up"), f"md5 {md5(PACKED)}"):
        assert part in str(caught.value)


def test_real_names_list_every_file_when_there_is_no_network(tmp_path, monkeypatch):
    def refuse(*_, **__):
        raise ConnectionRefusedError("no network here")

    monkeypatch.setattr("urllib.request.urlopen", refuse)
    for name, remotes in REMOTES.items():
        with pytest.raises(UserError, match="no network here") as caught:
            fetch(name, tmp_path)
        for item in remotes:
            assert item.file in str(caught.value)
            assert all(url in str(caught.value) for url in item.urls)


@pytest.mark.parametrize("name", ["set.gz", "set"])
@pytest.mark.parametrize("level", [1, 9])
def test_the_same_data_compressed_again_is_as_good(server, remote, tmp_path, name, level):
    (tmp_path / "made-up").mkdir()
    (tmp_path / "made-up" / name).write_bytes(gzip.compress(RAW, level) if name == "set.gz" else RAW)
    fetch("made-up", tmp_path)
    assert server.asked == []


@pytest.mark.parametrize(
    "content",
    [b"", b"other", gzip.compress(b"other"), PACKED[:-30]],
    ids=["empty", "other", "packed other", "torn"],
)
def test_another_file_of_that_name_is_reported_not_replaced(server, remote, tmp_path, content):
    (tmp_path / "made-up").mkdir()
    file = tmp_path / "made-up" / "set.gz"
    file.write_bytes(content)
    with pytest.raises(UserError, match=r"set\.gz: is not the published file"):
        fetch("made-up", tmp_path)
    assert file.read_bytes() == content


def archive(members: dict[str, bytes]) -> bytes:
    file = io.BytesIO()
    with tarfile.open(fileobj=file, mode="w:gz") as packed:
        for name, content in members.items():
            entry = tarfile.TarInfo(name)
            entry.size = len(content)
            packed.addfile(entry, io.BytesIO(content))
    return file.getvalue()


@pytest.mark.parametrize("by_hand", [True, False])
def test_an_archive_gives_only_the_members_that_were_asked_for(server, remote, tmp_path, by_hand):
    packed = archive({"in/a.bin": b"A", "in/b.bin": b"B", "../escaped": b"C", "in/readme": b"D"})
    remote(file="set.tar.gz", md5=md5(packed), urls=(f"{server.url}set.tar.gz",), members=("in/a.bin", "in/b.bin"))
    if by_hand:
        (tmp_path / "made-up").mkdir()
        (tmp_path / "made-up" / "set.tar.gz").write_bytes(packed)
    else:
        server.files["set.tar.gz"] = packed
    folder = fetch("made-up", tmp_path)
    assert (folder / "a.bin").read_bytes() == b"A"
    names = {str(path.relative_to(tmp_path)) for path in tmp_path.rglob("*") if path.is_file()}
    assert names == {"made-up/a.bin", "made-up/b.bin"} | ({"made-up/set.tar.gz"} if by_hand else set())
    asked = len(server.asked)
    fetch("made-up", tmp_path)
    assert len(server.asked) == asked


def test_an_archive_without_the_member_or_of_another_kind(server, remote, tmp_path):
    for packed in (archive({"in/a.bin": b"A"}), b"not an archive"):
        server.files["set.tar.gz"] = packed
        remote(file="set.tar.gz", md5=md5(packed), urls=(f"{server.url}set.tar.gz",), members=("in/b.bin",))
        with pytest.raises(UserError, match=r"set\.tar\.gz\.part: cannot be unpacked"):
            fetch("made-up", tmp_path)


def test_digits_need_no_download_and_others_are_unknown():
    assert (fetch("digits") / "digits.npz").is_file()
    with pytest.raises(UserError, match="mnist, fashion-mnist, cifar10"):
        fetch("imagenet")


@pytest.mark.skipif(os.name != "posix", reason="needs a device file")
def test_a_folder_that_cannot_be_made(remote):
    with pytest.raises(UserError, match="cannot be written"):
        fetch("made-up", "/dev/null")


def test_the_checksums_are_those_of_the_real_files(real):
    folder = real("mnist") / "mnist"
    for item in REMOTES["mnist"]:
        content = (folder / item.file).read_bytes()
        assert (md5(content), md5(gzip.decompress(content))) == (item.md5, item.content)
    assert fetch("mnist", real("mnist")) == folder
