"""downloads.py against a local server that fails in its ways, and a simulated gdown."""

import concurrent.futures
import errno
import http.server
import io
import os
import pathlib
import sys
import threading
import types

import pytest
import requests

from srgan_tf import UserError
from srgan_tf.data import downloads, sources

HTML = b"<!doctype html><title>Quota exceeded</title>" + bytes(200)


class Handler(http.server.BaseHTTPRequestHandler):
    """Sends server.made.content as server.made says; see the fixture `site`."""

    def do_GET(self):
        made = self.server.made
        made.requests.append(dict(self.headers))
        cut = made.cuts.pop(0) if made.cuts else None
        status = made.statuses.pop(0) if made.statuses else 200
        content, begin = made.content, 0
        wanted, condition = self.headers["Range"], self.headers["If-Range"]
        if wanted and made.ranges and condition in made.headers.values():
            begin, status = int(wanted[len("bytes=") : -1]), 206
            status = status if begin < len(content) else 416
        self.send_response(status)
        if status != 416 and made.length is not None:
            self.send_header("Content-Length", len(content) - begin + made.length)
        for name, text in made.headers.items() if status != 206 else ():
            self.send_header(name, text)
        self.end_headers()
        threading.Event().wait(made.seconds)
        self.wfile.write(content[begin:][:cut])

    def log_message(self, *_):
        pass


@pytest.fixture(scope="module")
def content(make, tmp_path_factory):
    """The bytes of a zip of twenty images."""
    members = {f"in/{number}.png": make.png(number, 90, 100) for number in range(20)}
    return make.zip(tmp_path_factory.mktemp("zip") / "a.zip", members).read_bytes()


@pytest.fixture
def site(tmp_path, monkeypatch, content):
    """A server of a zip, and what it did; waits: those of the downloads.

    site.cuts, .statuses: of the next requests; the bytes sent, the codes. .length: what
    Content-Length has too much; None: there is none.
    """
    made = types.SimpleNamespace(
        content=content, requests=[], cuts=[], statuses=[], ranges=True, length=0,
        headers={"ETag": '"v1"'}, seconds=0, waits=[], cache=tmp_path / "cache",
    )  # fmt: skip
    monkeypatch.setenv("SRGAN_CACHE", str(made.cache))
    monkeypatch.setattr(downloads.time, "sleep", made.waits.append)
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.made = made
    threading.Thread(target=server.serve_forever, args=[0.01], daemon=True).start()
    made.url = f"http://127.0.0.1:{server.server_port}/zips/faces.zip?download=1"
    yield made
    server.shutdown()
    server.server_close()


def zips(site):
    """What the cache holds under a final name."""
    return list(site.cache.glob("*.zip"))


def is_whole(site, path):
    return pathlib.Path(path).read_bytes() == site.content


def test_a_zip_comes_once_and_stays_a_zip(site):
    told = []
    path = downloads.fetch(site.url, lambda *counts: told.append(counts))
    assert [str(each) for each in zips(site)] == [path]
    assert os.path.basename(path).startswith("faces-")
    assert is_whole(site, path)
    assert told[-1] == (len(site.content),) * 2 and len(told) > 1
    assert len(sources.find_images(path)) == 20
    assert {each.suffix for each in site.cache.iterdir()} == {".zip", ".lock"}
    next(site.cache.glob("*.lock")).unlink()  # the folder may be read-only
    assert downloads.fetch(site.url) == path and len(os.listdir(site.cache)) == 1
    (request,) = site.requests
    assert request["Accept-Encoding"] == "identity" and "Range" not in request
    other = downloads.fetch(site.url + "&version=2")  # of the same name
    assert other != path and len(site.requests) == 2


DATE = {"Last-Modified": "Fri, 27 Nov 2026 08:00:00 GMT"}


@pytest.mark.parametrize(
    ("headers", "ranges", "condition"),
    [
        ({"ETag": '"v1"'}, True, '"v1"'),
        ({"ETag": 'W/"weak"', **DATE}, True, DATE["Last-Modified"]),
        ({"ETag": 'W/"weak"'}, True, None),  # nothing tells whether it has changed
        ({}, True, None),
        ({"ETag": '"v1"'}, False, '"v1"'),
    ],
)
def test_what_breaks_off_goes_on(site, headers, ranges, condition):
    site.headers, site.ranges, site.cuts = headers, ranges, [300_000, 100_000]
    told = []
    path = downloads.fetch(site.url, lambda *counts: told.append(counts))
    assert is_whole(site, path) and site.waits == [1, 3]
    first, *others = site.requests
    assert "Range" not in first and len(others) == 2
    assert {each.get("If-Range") for each in others} == {condition}
    assert told[-1] == (len(site.content),) * 2
    if condition and ranges:
        begins = [int(each["Range"][len("bytes=") : -1]) for each in others]
        assert 200_000 < begins[0] <= 300_000 < begins[1]


def test_the_next_command_goes_on_but_not_with_another_file(site):
    for change in (False, True):
        site.cuts, site.waits[:] = [300_000, *[0] * 9], []
        with pytest.raises(UserError, match=r"faces\.zip.*broke off"):
            downloads.fetch(site.url)
        assert site.waits == [1, 3, 10] and not zips(site)
        site.cuts, site.requests[:] = [], []
        if change:
            site.content = site.content[::-1] + site.content
            site.headers = {"ETag": '"v2"'}
        path = pathlib.Path(downloads.fetch(site.url))
        assert len(site.requests) == 1 and "Range" in site.requests[0]
        assert is_whole(site, path)
        path.rename(path.with_suffix(".partial"))  # whole, as if it was not renamed
        path.with_suffix(".version").write_text(site.headers["ETag"])
        assert downloads.fetch(site.url) == str(path) and len(site.requests) == 3
        assert is_whole(site, path)
        path.unlink()


@pytest.mark.parametrize(
    ("change", "subject", "requests"),
    [
        ({"length": 5}, "broke off", 4),  # longer than what comes
        ({"length": 5, "headers": {}}, "broke off", 4),
        ({"length": -5}, "no zip", 1),
        ({"length": None, "cuts": [300_000]}, "no zip", 1),
        ({"statuses": [404]}, "404", 1),
        ({"statuses": [503] * 9}, "503", 4),
        ({"content": HTML, "headers": {"Content-Type": "text/html; a"}}, "HTML", 1),
        ({"content": HTML}, "no zip", 1),
    ],
)
def test_what_is_not_the_whole_zip_is_named(site, change, subject, requests):
    good = dict(vars(site))
    vars(site).update(change)
    with pytest.raises(UserError) as error:
        downloads.fetch(site.url)
    message = str(error.value)
    assert site.url in message and subject in message and "\n" not in message
    assert len(site.requests) == requests and not zips(site)
    assert subject != "no zip" or not list(site.cache.glob("*.partial"))
    vars(site).update(good, waits=[], statuses=[503, 429])  # a busy server: retried
    assert is_whole(site, downloads.fetch(site.url))
    with pytest.raises(UserError, match=r"127\.0\.0\.1:9/a\.zip does not answer"):
        downloads.fetch("http://127.0.0.1:9/a.zip")
    with pytest.raises(UserError, match=r"http://\[ is no address"):
        downloads.fetch("http://[")


def test_a_full_disk_is_named_and_what_came_is_used(site, monkeypatch):
    class Full(io.FileIO):
        def write(self, chunk):
            if self.tell() > 200_000:
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
            return super().write(chunk)

    with monkeypatch.context() as patch:
        choose = lambda path, mode: (Full if "b" in mode else open)(path, mode)  # noqa: E731
        patch.setattr(downloads, "open", choose, raising=False)
        with pytest.raises(UserError, match=r"cache: No space .*SRGAN_CACHE"):
            downloads.fetch(site.url)
    assert not zips(site)
    assert is_whole(site, downloads.fetch(site.url))
    assert "Range" in site.requests[1] and site.waits == []


@pytest.mark.parametrize("content", [b"no photograph", b""])
def test_a_photograph_comes_as_what_it_is(site, make, content):
    url = site.url.replace("faces.zip", "Face.JPG")
    site.content = content
    with pytest.raises(UserError, match=r"Face\.JPG.*no photograph"):
        downloads.fetch(url)
    site.content = make.png(0, 20, 10)
    path = downloads.fetch(url)
    assert is_whole(site, path) and path.endswith(".JPG")
    assert [entry.read() for entry in sources.find_images(path)] == [site.content]


def test_two_at_once_download_once(site):
    site.seconds = 0.3
    with concurrent.futures.ThreadPoolExecutor() as pool:
        paths = set(pool.map(downloads.fetch, [site.url] * 3))
    assert len(paths) == len(site.requests) == 1
    assert is_whole(site, paths.pop())


def test_names_stand_for_addresses_unless_they_exist(site, monkeypatch, make):
    assert all(map(downloads.address, downloads.NAMES))
    monkeypatch.setitem(downloads.NAMES, "div2k", site.url)
    monkeypatch.chdir(site.cache.parent)
    assert is_whole(site, downloads.fetch("div2k"))
    make.fill("div2k", ["a.png"])
    unchanged = ["div2k", pathlib.Path("div2k"), "no/such.zip", "a.zip"]
    assert [*map(downloads.fetch, unchanged)] == unchanged and len(site.requests) == 1


@pytest.mark.parametrize(
    ("outcome", "subject"),
    [
        ("zip", None),
        (HTML, "no zip"),
        (RuntimeError("Too many users\n\nhave viewed"), "many users have.*tomorrow"),
        (requests.ConnectionError("no route"), "no route"),
        (OSError(errno.ENOSPC, "No space left"), "cache: No space left"),
        (None, "pip install gdown"),
    ],
)
def test_celeba_comes_by_gdown(site, monkeypatch, outcome, subject):
    def download(url, output, resume):
        assert url == downloads.NAMES["celeba"] and resume
        if isinstance(outcome, Exception):
            raise outcome
        content = site.content if outcome == "zip" else outcome
        pathlib.Path(output).write_bytes(content)

    gdown = outcome is not None and types.SimpleNamespace(download=download)
    monkeypatch.setitem(sys.modules, "gdown", gdown or None)
    if subject is None:
        path = downloads.fetch("celeba")
        assert os.path.basename(path).startswith("celeba-")
        assert is_whole(site, path)
        return
    with pytest.raises(UserError, match=subject) as error:
        downloads.fetch("celeba")
    assert "\n" not in str(error.value)
    assert not zips(site) and not list(site.cache.glob("*.partial"))


def test_gdown_itself_takes_what_it_is_given(site):
    pytest.importorskip("gdown")
    partial = site.cache / "a.partial"
    site.cache.mkdir()
    downloads._from_drive(site.url, partial)
    assert partial.read_bytes() == site.content
