import io
import json
import shutil
import subprocess
import tarfile
from pathlib import Path

import numpy as np
import pytest
import soundfile

from wavtext.corpora import apt
from wavtext.corpora.apt import Apt, file_checksum, unpack, unpack_tar
from wavtext.corpora.collection import Rejected
from wavtext.corpora.debian import MARKER, debian_clips, read_package_list
from wavtext.corpora.dep5 import CopyrightFile
from wavtext.corpora.manifest import Clip
from wavtext.errors import CollectError, ManifestError

COPYRIGHT = """Format: https://www.debian.org/doc/packaging-manuals/copyright-format/1.0/
Source: link

Files: *
Copyright: 2016 Ann
           2017 Ben
License: GPL-2+

Files: etc/samples/crow.flac
Copyright: 2013 Cid
License: CC0

Files: data/sounds/*
Copyright: Dan
License: CC-BY-SA-3.0

Files: data/sounds/bell_*.ogg
Copyright: Eve
License: Expat or GPL-3

Files: a/twice.wav
Copyright: F
License: MIT

Files: b/twice.wav
Copyright: G
License: GPL-2

License: GPL-2+
 Text of the licence.
 .
 Files: not-a-field
"""


@pytest.mark.parametrize(
    ("installed", "license", "basis"),
    [
        ("usr/share/x/pics/a.ogg", "GPL-2.0-or-later", "whole package"),
        ("usr/share/x/samples/crow.flac", "CC0-1.0", "file"),
        ("usr/share/games/x/sounds/deep/a.ogg", "CC-BY-SA-3.0", "folder"),
        ("usr/share/games/x/sounds/bell_1.ogg", "MIT OR GPL-3.0-only", "pattern"),
        ("usr/share/a/twice.wav", "MIT", "file"),
        ("usr/share/c/twice.wav", "unclear", "could be GPL-2.0-only or MIT"),
    ],
)
def test_the_most_telling_pattern_gives_a_files_licence(
    installed: str, license: str, basis: str
) -> None:
    found = CopyrightFile(COPYRIGHT).license_of(installed)
    assert (found.license, found.basis) == (license, basis)


def test_copyright_holders_are_credited() -> None:
    assert CopyrightFile(COPYRIGHT).license_of("usr/x.ogg").credit == "2016 Ann; 2017 Ben"


def test_a_copyright_file_in_prose_makes_the_licence_unclear() -> None:
    found = CopyrightFile("This package was debianised by X.\n\nLicense: GPL-2\n").license_of("a")
    assert (found.license, found.basis) == ("unclear", "copyright file is not machine-readable")


def test_the_committed_package_list_can_be_read() -> None:
    rules = read_package_list()
    assert len({rule.package for rule in rules}) == len(rules) >= 25
    assert all("*/music/*" in rule.skip for rule in rules)
    sonic_pi = next(rule for rule in rules if rule.package == "sonic-pi-samples")
    assert sonic_pi.abbreviations["bd"] == "bass drum"


@pytest.mark.parametrize("line", ["Upper-Case", "../up", "good word"])
def test_a_bad_package_list_is_an_error_that_names_the_line(tmp_path: Path, line: str) -> None:
    (tmp_path / "list.txt").write_text(f"# fine\nsound-icons !*.mp3\n{line}\n")
    with pytest.raises(ManifestError, match=r"list\.txt:3"):
        read_package_list(tmp_path / "list.txt")


def write_package(folder: Path, package: str) -> None:
    sounds = folder / "packages" / package / "usr/share/tuxpaint/stamps/animals"
    sounds.mkdir(parents=True)
    for name in ("dog", "door_slam-02"):
        soundfile.write(sounds / f"{name}.ogg", np.zeros(100), 8_000, format="OGG")
    (sounds / "dog.txt").write_text("A barking dog.\nde.utf8=Ein Hund.\n")
    document = folder / "packages" / package / "usr/share/doc" / package
    document.mkdir(parents=True)
    (document / "copyright").write_text(COPYRIGHT)
    (folder / "packages" / package / MARKER).write_text(json.dumps({"version": "1.0-2"}))


def test_packages_that_are_there_become_clips_without_asking_apt(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("wavtext.corpora.debian.apt_available", lambda: False)
    write_package(tmp_path, "some-sounds")
    (tmp_path / "list.txt").write_text("some-sounds slam=slams\n")
    dog, door = (c for c in debian_clips(tmp_path, packages=tmp_path / "list.txt"))
    assert isinstance(dog, Clip)
    assert isinstance(door, Clip)
    assert dog.columns["title"] == "A barking dog"
    assert dog.columns["title_from"] == "text of the package"
    assert (door.columns["title"], door.columns["title_from"]) == ("door slams", "file name")
    assert door.columns["description"] == "tuxpaint, stamps, animals"
    assert (dog.license, dog.credit) == ("GPL-2.0-or-later", "2016 Ann; 2017 Ben")
    assert dog.columns["package_version"] == "1.0-2"
    assert door.group.endswith("animals/door_slam")


def test_a_package_that_cannot_be_fetched_is_a_rejection_and_the_others_stay(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(self: Apt, package: str) -> Path:
        raise CollectError(f"{package}: no such package.")

    monkeypatch.setattr("wavtext.corpora.debian.apt_available", lambda: True)
    monkeypatch.setattr(Apt, "download", fail)
    write_package(tmp_path, "some-sounds")
    (tmp_path / "list.txt").write_text("lost-sounds\nsome-sounds\n")
    lost, *found = debian_clips(tmp_path, packages=tmp_path / "list.txt")
    assert lost == Rejected("debian/lost-sounds", "package failed", "lost-sounds: no such package.")
    assert len(found) == 2


def test_without_apt_and_without_packages_it_says_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("wavtext.corpora.debian.apt_available", lambda: False)
    with pytest.raises(CollectError, match="no apt-get"):
        list(debian_clips(tmp_path))


def test_empty_package_lists_are_fetched_into_a_folder_of_our_own(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As on a fresh machine: the first download fails, an update with private lists mends it."""
    calls: list[list[str]] = []

    def run(command: list[str], **options: object) -> subprocess.CompletedProcess[str]:
        calls.append(command)
        private = any(each.startswith("Dir::State::Lists=") for each in command)
        if "download" in command and private:
            (Path(str(options["cwd"])) / "crow_1_all.deb").write_bytes(b"deb")
        failed = "download" in command and not private
        text = "E: Unable to locate package crow" if failed else ""
        return subprocess.CompletedProcess(command, 100 if failed else 0, text, "")

    monkeypatch.setattr(apt, "apt_available", lambda: True)
    monkeypatch.setattr(apt.subprocess, "run", run)
    assert Apt(tmp_path / "apt").download("crow") == tmp_path / "apt" / "crow_1_all.deb"
    verbs = [next(each for each in call if each in ("download", "update")) for call in calls]
    assert verbs == ["download", "update", "download"]
    assert (tmp_path / "apt" / "lists" / "partial").is_dir()


def a_tar(*members: tuple[tarfile.TarInfo, bytes]) -> io.BytesIO:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as archive:
        for info, data in members:
            info.size = len(data)
            archive.addfile(info, io.BytesIO(data))
    buffer.seek(0)
    return buffer


def a_link(name: str, target: str) -> tuple[tarfile.TarInfo, bytes]:
    info = tarfile.TarInfo(name)
    info.type, info.linkname = tarfile.SYMTYPE, target
    return info, b""


def test_an_archive_never_writes_outside_its_folder(tmp_path: Path) -> None:
    folder = tmp_path / "in"
    stream = a_tar(
        (tarfile.TarInfo("./good/crow.wav"), b"crow"),
        (tarfile.TarInfo("../evil.wav"), b"x"),
        (tarfile.TarInfo("good/../../evil.wav"), b"x"),
        (tarfile.TarInfo("/evil.wav"), b"x"),
        a_link("link", ".."),
        (tarfile.TarInfo("link/evil.wav"), b"x"),
        a_link("shadow.wav", "/etc/passwd"),
        (tarfile.TarInfo("huge.wav"), b"x" * 100),
    )
    written = list(unpack_tar(stream, folder, lambda name: name.endswith(".wav"), limit=50))
    assert [path.relative_to(folder).as_posix() for path in written] == [
        "good/crow.wav",
        "link/evil.wav",  # an ordinary folder: the link before it was not made
    ]
    assert not (tmp_path / "evil.wav").exists()
    assert not (folder / "shadow.wav").exists()


def test_a_link_that_was_there_before_is_not_followed_out_of_the_folder(tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    (tmp_path / "in" / "link").symlink_to(tmp_path)
    stream = a_tar((tarfile.TarInfo("link/evil.wav"), b"x"))
    assert list(unpack_tar(stream, tmp_path / "in", lambda name: True)) == []
    assert not (tmp_path / "evil.wav").exists()


@pytest.mark.skipif(shutil.which("dpkg-deb") is None, reason="needs dpkg-deb, absent here")
def test_a_real_package_is_unpacked_and_a_cut_one_is_an_error(tmp_path: Path) -> None:
    tree = tmp_path / "tree"
    (tree / "DEBIAN").mkdir(parents=True)
    (tree / "DEBIAN" / "control").write_text(
        "Package: crow\nVersion: 1\nArchitecture: all\nMaintainer: A <a@b.c>\nDescription: crow\n"
    )
    (tree / "usr").mkdir()
    (tree / "usr" / "crow.wav").write_bytes(np.random.default_rng(0).bytes(200_000))
    subprocess.run(["dpkg-deb", "-b", tree, tmp_path / "crow.deb"], check=True, capture_output=True)
    (sound,) = unpack(tmp_path / "crow.deb", tmp_path / "out", lambda name: name.endswith(".wav"))
    assert file_checksum(sound) == file_checksum(tree / "usr" / "crow.wav")
    data = (tmp_path / "crow.deb").read_bytes()
    (tmp_path / "cut.deb").write_bytes(data[: len(data) // 2])
    with pytest.raises(CollectError, match=r"cut\.deb"):
        unpack(tmp_path / "cut.deb", tmp_path / "out", lambda name: True)
