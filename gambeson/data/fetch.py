"""Download a data set from its publisher, and trust nothing but the checksum."""

import hashlib
import http.client
import os
import ssl
import tarfile
import urllib.error
import urllib.request
import zlib
from collections.abc import Callable
from pathlib import Path

from gambeson.data.locate import folders
from gambeson.data.remotes import REMOTES, Remote
from gambeson.errors import UserError

CHUNK = 1 << 20
Progress = Callable[[str, int, int | None], None]


def fetch(name: str, data_dir: str | Path | None = None, *, on_progress: Progress | None = None) -> Path:
    """Download `name` into the first folder that `load` searches (data_dir, $GAMBESON_DATA, user cache) and check it.

    A download goes to FILE.part, which a later call resumes, and gets its name only after its md5 was found right.
    Files that are there already are checked, not downloaded.

    Args:
        name: "mnist", "fashion-mnist" or "cifar10".
        data_dir: where to put the folder `name`.
        on_progress: called with (file, bytes so far, bytes in all or None).

    Returns:
        The folder that holds the files.

    Raises:
        UserError: no such name; a wrong checksum; no network (then: which files to put where, and their URLs).

    >>> fetch("mnist", "data")  # doctest: +SKIP
    """
    if name == "digits":
        return Path(__file__).parent  # embedded: nothing to do
    if name not in REMOTES:
        raise UserError(f"data set {name!r} cannot be fetched; these can: {', '.join(REMOTES)} (digits is embedded)")
    folder = folders(data_dir)[0] / name
    try:
        folder.mkdir(parents=True, exist_ok=True)
        missing = [remote for remote in REMOTES[name] if not _present(folder, remote)]
        for remote in missing:
            _obtain(folder, remote, missing, on_progress)
    except OSError as error:
        raise UserError(f"{folder}: cannot be written ({error}); name another folder with --data-dir") from error
    return folder


def _present(folder: Path, remote: Remote) -> bool:
    if remote.members:
        return all((folder / Path(member).name).is_file() for member in remote.members)
    for path in (folder / remote.file, folder / remote.file.removesuffix(".gz")):
        if path.is_file():
            found = _md5(path)
            if found not in (remote.md5, remote.content) and _md5(path, unzip=True) != remote.content:
                raise UserError(f"{path}: is not the published file: md5 {found}, published {remote.md5}; remove it")
            return True
    return False


def _obtain(folder: Path, remote: Remote, missing: list[Remote], on_progress: Progress | None) -> None:
    given, part = folder / remote.file, folder / f"{remote.file}.part"
    if not given.is_file():  # an archive that was put here by hand is unpacked without a download
        reasons = [_download(url, part, remote, on_progress) for url in remote.urls if not _right(part, remote)]
        if not _right(part, remote):
            wanted = "; ".join(f"{item.file} (md5 {item.md5}) from {' or '.join(item.urls)}" for item in missing)
            why = "; ".join(reason for reason in reasons if reason)
            by_hand = f"Without a network, put these files into {folder} and run it again: {wanted}"
            raise UserError(f"{remote.file} could not be downloaded: {why}. {by_hand}")
    if not remote.members:
        os.replace(part, given)
    elif given.is_file():
        if not _right(given, remote):
            raise UserError(f"{given}: md5 {_md5(given)}, published {remote.md5}; remove it and fetch it again")
        _unpack(given, folder, remote)
    else:
        _unpack(part, folder, remote)
        part.unlink()


def _right(path: Path, remote: Remote) -> bool:
    return path.is_file() and _md5(path) == remote.md5


def _download(url: str, part: Path, remote: Remote, on_progress: Progress | None) -> str:
    """Add to `part` what it lacks; returns what went wrong, or ""."""
    start = part.stat().st_size if part.is_file() else 0
    headers = {"User-Agent": "gambeson"} | ({"Range": f"bytes={start}-"} if start else {})
    try:
        with urllib.request.urlopen(urllib.request.Request(url, headers=headers), timeout=30) as reply:
            resumed = getattr(reply, "status", None) == 206
            done = start if resumed else 0
            length = reply.headers.get("Content-Length")
            total = done + int(length) if length else None
            with part.open("ab" if resumed else "wb") as file:
                while chunk := reply.read(CHUNK):
                    file.write(chunk)
                    done += len(chunk)
                    if on_progress:
                        on_progress(remote.file, done, total)
    except (urllib.error.URLError, http.client.HTTPException, ssl.SSLError, TimeoutError, ConnectionError) as error:
        if getattr(error, "code", None) == 416:  # the partial file is longer than the published one
            part.unlink()
            return _download(url, part, remote, on_progress)
        return f"{url}: {getattr(error, 'reason', None) or error}"
    if total is not None and done < total:
        return f"{url}: the connection ended after {done} of {total} bytes; run it again to resume"
    found = _md5(part)
    if found == remote.md5:
        return ""
    part.unlink()
    if resumed:  # what was kept of an earlier attempt may have been wrong
        return _download(url, part, remote, on_progress)
    return f"{url}: wrong checksum: md5 {found}, published {remote.md5}"


def _unpack(archive: Path, folder: Path, remote: Remote) -> None:
    """Only the members named here, each under its own last name: no path in the archive is followed."""
    try:
        with tarfile.open(archive, "r:gz") as packed:
            for member in remote.members:
                target = folder / Path(member).name
                stream = packed.extractfile(member)
                if stream is None:
                    raise KeyError(f"{member} is not a file")
                part = target.with_name(f"{target.name}.part")
                with stream, part.open("wb") as file:
                    while chunk := stream.read(CHUNK):
                        file.write(chunk)
                os.replace(part, target)
    except (tarfile.TarError, KeyError, EOFError, zlib.error) as error:
        raise UserError(f"{archive}: cannot be unpacked ({error}); remove it and fetch it again") from error


def _md5(path: Path, unzip: bool = False) -> str:
    digest, member = hashlib.md5(usedforsecurity=False), zlib.decompressobj(wbits=31)
    with path.open("rb") as file:
        while chunk := file.read(CHUNK):
            try:
                digest.update(member.decompress(chunk) if unzip else chunk)
            except zlib.error:
                return "not gzip"
    return digest.hexdigest()
