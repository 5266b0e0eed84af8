"""sources.py: finding images, and knowing them at the next start."""

import os
import subprocess
import sys
import tracemalloc
import zipfile
from unittest import mock

import numpy as np
import pytest

from srgan_tf import UserError
from srgan_tf.data import photographs, sources


def test_folders_zips_and_files_are_mixed(tmp_path, make):
    hidden = [".a.png", ".git/b.png", "__MACOSX/._c.png", "in/.d/e.png"]
    folder = make.fill(tmp_path / "a", ["2.png", "deep..er/1.PNG", "0..png", *hidden])
    members = {"in/3.png": make.png(3), "a.txt": b"text"}
    archive = make.zip(tmp_path / "b.zip", members | dict.fromkeys(hidden, b""))
    (tmp_path / "4.png").write_bytes(make.png(4, 50, 60))
    (folder / "notes.txt").write_text("ignored")
    paths = [folder, str(archive), tmp_path / "4.png"]
    found = sources.find_images(paths)
    assert " ".join(make.names(found)) == "0..png 2.png 4.png deep..er/1.PNG in/3.png"
    for source, seed in zip(found, [2, 0, 4, 1, 3], strict=True):
        size = (50, 60) if seed == 4 else ()
        np.testing.assert_array_equal(source.pixels(), make.noise(seed, *size))
    assert found == sources.find_images(paths[::-1])  # their order does not matter
    assert sorted(os.listdir(tmp_path)) == ["4.png", "a", "b.zip"]  # nothing unpacked


def test_paths_without_a_large_image_are_named(tmp_path, make):
    (tmp_path / "empty").mkdir()
    (tmp_path / "text.txt").write_text("text")
    make.zip(tmp_path / "a.zip", {"a.txt": b""})
    make.fill(tmp_path, ["a.png"])
    for name in ("empty", "none", "text.txt", "a.zip", ""):
        with pytest.raises(UserError, match=name or "an empty path"):
            sources.find_images([name and tmp_path / name])
    with pytest.raises(UserError, match="41 pixels"):
        sources.find_images(tmp_path, 41)


def test_one_percent_may_be_unreadable(tmp_path, make, caplog):
    make.fill(tmp_path, [f"{number:03}.png" for number in range(99)], 8, 8)
    (tmp_path / "bad.png").write_bytes(b"<html>")
    assert len(sources.find_images(tmp_path)) == 99
    assert len(caplog.records) == 1 and "bad.png" in caplog.text
    assert len(sources.find_images(tmp_path, limit=99)) == 99
    assert len(caplog.records) == 1  # it is the last
    (tmp_path / "bad.png").rename(tmp_path / "0.png")
    assert len(sources.find_images(tmp_path, limit=2)) == 2 and "0.png" in caplog.text
    (tmp_path / "0.png").rename(tmp_path / "bad.png")
    (tmp_path / "folder.png").mkdir()  # a folder is searched, not read
    (tmp_path / "huge.png").write_bytes(b"")
    os.truncate(tmp_path / "huge.png", 2**40)  # it takes no room on the disk
    with pytest.raises(UserError, match=r"2 of 101 .*bad\.png, .*huge\.png"):
        sources.find_images(tmp_path)


@pytest.fixture
def data(tmp_path, make):
    """Five images, the second of a difficult name."""
    folder = make.fill(tmp_path / "a", ["1.png", "b/é ,\n\udce9.png", "3.png"])
    archive = make.zip(tmp_path / "b.zip", {"4.png": make.png(4), "5.png": make.png(5)})
    return [folder, archive]


@pytest.fixture
def reads(monkeypatch):
    """The names of the images that were read."""
    spy = mock.Mock(wraps=photographs.read_size)
    monkeypatch.setattr(photographs, "read_size", spy)
    return lambda: sorted(os.path.basename(name) for (_, name), _ in spy.call_args_list)


def test_a_second_start_opens_no_image(tmp_path, data, monkeypatch):
    """Trap 1 of the rebuilding: every start decoded and hashed all images."""
    index = tmp_path / "info" / "photographs.csv"
    found = sources.find_images(data, 1, index)

    monkeypatch.setattr(photographs, "read_bytes", mock.Mock(side_effect=OSError))
    monkeypatch.setattr(zipfile.ZipExtFile, "read", None)
    again = sources.find_images(data, 1, index)
    assert again == found
    assert os.listdir(tmp_path / "info") == ["photographs.csv"]


def test_only_changed_files_are_read_again(tmp_path, data, make, reads):
    index, other = tmp_path / "index.csv", make.fill(tmp_path / "other", ["6.png"])
    sources.find_images(other, 1, index)
    before = sources.find_images(data, 1, index)  # one index serves several data sets
    (data[0] / "3.png").write_bytes(make.png(7, 44, 44))
    os.utime(data[0] / "3.png", ns=(0, 5))
    after = sources.find_images([*data, other], 1, index)
    assert reads().count("3.png") == 2 and len(reads()) == 6 + 1
    changed = [new for new in after if new not in before]
    assert make.names(changed) == ["3.png", "6.png"]
    make.zip(data[1], {"4.png": make.png(8), "5.png": make.png(5)})
    os.utime(data[1], ns=(0, 7))
    sources.find_images(data, 1, index)
    assert reads().count("4.png") == reads().count("5.png") == 2 and len(reads()) == 9


@pytest.mark.parametrize(
    ("limit", "names", "read"),
    [(3, "bbd", "abbcd"), (1, "b", "ab"), (9, "bbdefg", "abbcdefg")],
)
def test_limit_reads_the_first_by_name_alone(
    tmp_path, make, reads, caplog, limit, names, read
):
    """Of two images of one name, the path tells which is the first. a, c: small."""
    caplog.set_level("INFO", "srgan_tf")
    members = dict(zip("dbfe", map(make.png, range(4)), strict=True))
    members |= dict.fromkeys("ac", make.png(9, 20, 20))
    archive = make.zip(tmp_path / "1", {f"{k}.png": x for k, x in members.items()})
    folder = make.fill(tmp_path / "2", ["g.png", "b.png"])
    for paths in ([archive, folder], [folder, archive]):  # the second from the index
        found = sources.find_images(paths, 32, tmp_path / "index.csv", limit)
        assert make.names(found) == [f"{name}.png" for name in names]
        assert reads() == [f"{name}.png" for name in read]
        small = len(set(read) & set("ac"))
        assert f"left out: {small} of {len(read)} images" in caplog.text
    assert found == sources.find_images(paths, 32)[:limit]


def test_a_damaged_index_is_written_anew_if_it_can_be(tmp_path, data, reads, caplog):
    index = tmp_path / "index.csv"
    found = sources.find_images(data, 1, index)
    good = index.read_bytes()
    for starts, damaged in enumerate(
        (good[:-30], b"name,price\n" + good, b"\0\xff" * 100), start=2
    ):
        index.write_bytes(damaged)
        caplog.clear()
        assert sources.find_images(data, 1, index) == found
        assert len(reads()) == 5 * starts and index.read_bytes() == good
        assert "index.csv" in caplog.text
    index = data[1] / "index.csv"  # a zip is no folder
    caplog.clear()
    assert sources.find_images(data, 1, index) == found
    assert len(caplog.records) == 1 and str(index) in caplog.text


@pytest.mark.filterwarnings("ignore:Duplicate name")
def test_damaged_encrypted_unusual_and_unsafe_zips_are_refused(tmp_path, make):
    path = make.zip(tmp_path / "a.zip", {"a.png": make.png(0), "b.png": make.png(1)})
    content = path.read_bytes()
    bad = [content[:end] for end in (0, 1, 30, len(content) // 2, len(content) - 1)]
    flags = content.index(b"PK\1\2") + 8  # in the zip's directory
    bad.append(content[:flags] + b"\1" + content[flags + 1 :])  # encrypted
    bad.append(content[: flags + 2] + b"\11" + content[flags + 3 :])  # Deflate64
    link = zipfile.ZipInfo("a.png")
    link.external_attr = 0o120777 << 16
    for name in (link, "/a.png", "b/../../a.txt", "C:/a.png", "..\\a.png"):
        other = make.zip(tmp_path / "other.zip", {"b.png": make.png(0), name: b"/etc"})
        bad.append(other.read_bytes())
    with zipfile.ZipFile(tmp_path / "other.zip", "w") as archive:
        for seed in range(3):
            archive.writestr("b.png", make.png(seed))
    bad.append((tmp_path / "other.zip").read_bytes())
    for damaged in bad:
        path.write_bytes(damaged)
        with pytest.raises(UserError, match=r"a\.zip"):
            sources.list_photographs(path)


def test_sizes_are_bounded_while_reading(tmp_path, monkeypatch, make):
    monkeypatch.setattr(sources, "MEMBER_BYTES", 2**20)
    path = make.zip(tmp_path / "a.zip", {"bomb.png": bytes(2**22)})
    read = sources.list_photographs(path)[0].read
    tracemalloc.start()
    try:
        assert len(read()) == 2**20
        assert tracemalloc.get_traced_memory()[1] < 1.5 * 2**20  # not held twice
    finally:
        tracemalloc.stop()
    bombs = {f"bomb{number}.png": bytes(2**21) for number in range(30)}
    path = make.zip(tmp_path / "b.zip", bombs)
    tracemalloc.start()
    try:
        with pytest.raises(UserError, match=r"bomb0\.png"):
            sources.find_images(path)
        most = (os.cpu_count() + 2) * 2**20  # one a worker, not all that are refused
        assert tracemalloc.get_traced_memory()[1] < max(most, 20 * 2**20)
    finally:
        tracemalloc.stop()


def test_importing_changes_nothing_global():
    """Trap 7 of the rebuilding."""
    program = """
import warnings, cv2, numpy, PIL.Image
def state():
    level = cv2.utils.logging.getLogLevel()
    return PIL.Image.MAX_IMAGE_PIXELS, list(warnings.filters), level
before = state()
from srgan_tf.data import batches, copies, sources, split
assert state() == before, (before, state())
"""
    subprocess.run([sys.executable, "-c", program], check=True)
