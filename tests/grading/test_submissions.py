"""Submissions are found by their owner's name or id, and nothing hostile in them is read."""

from __future__ import annotations

import io
import os
import stat
import warnings
import zipfile
from pathlib import Path

import pytest

from lessonlib.errors import LessonError
from lessonlib.grading import submissions
from lessonlib.grading.roster import Student, owner, read_roster
from lessonlib.grading.submissions import find, read

CANVAS = """\
Student,ID,SIS User ID,SIS Login ID,Section,Homework 1 (77)
    Points Possible,,,,,10
"Lovelace, Ada",101,s-1,ada,A,
"Hopper, Grace",102,s-2,grace.hopper,A,
"Noether, Émmy",103,s-3,e_n,A,
"""


@pytest.fixture
def roster(tmp_path: Path) -> list[Student]:
    path = tmp_path / "roster.csv"
    path.write_text("\ufeff" + CANVAS, encoding="utf-8")
    return read_roster(path)


def test_a_roster_of_any_lms_is_read(roster: list[Student], tmp_path: Path) -> None:
    assert [student.id for student in roster] == ["101", "102", "103"]
    assert roster[0].keys == ("101", "s-1", "ada")
    path = tmp_path / "moodle.csv"
    path.write_text("First name;Last name;Email address\nAda;Lovelace;Ada@x.edu\n", encoding="utf-8")
    (ada,) = read_roster(path)
    assert (ada.id, ada.name, ada.keys) == ("Ada@x.edu", "Ada Lovelace", ("ada@x.edu", "ada"))


@pytest.mark.parametrize("text", ["", "colour,shape\nred,round\n", "id\n1\n1\n"])
def test_a_roster_that_names_nobody_is_one_sentence(text: str, tmp_path: Path) -> None:
    path = tmp_path / "roster.csv"
    path.write_text(text)
    with pytest.raises(LessonError, match="roster"):
        read_roster(path)


@pytest.mark.parametrize(
    ("stem", "identity"),
    {
        "lovelaceada_LATE_101_9988_hw1": "101",
        "hoppergrace_55_66_hw": "102",
        "Grace Hopper_77_assignsubmission_file_": "102",
        "submission-ada": "101",
        "grace.hopper": "102",
        "grace.hopper@x.edu": "102",
        "e_n": "103",
        "noetheremmy_1_2_x": "103",
        "S-2 final (3)": "102",
        "canada": None,  # not between separators
        "1010": None,
        "101_102": None,  # whose?
        "": None,
    }.items(),
)
def test_the_owner_stands_in_the_name(stem: str, identity: str | None, roster: list[Student]) -> None:
    student = owner(stem, roster)
    assert (student.id if student else None) == identity


def test_every_student_has_a_row_and_strangers_come_last(roster: list[Student], tmp_path: Path) -> None:
    folder = tmp_path / "handed"
    folder.mkdir()
    (folder / "lovelaceada_101_1_a.ipynb").write_text("{}")
    (folder / "lovelaceada_101_2_b.ipynb").write_text("{}")
    (folder / "grace.hopper").mkdir()
    (folder / "somebody.zip").write_bytes(b"")
    (folder / "notes.txt").write_text("not a submission")
    (folder / ".DS_Store").write_text("")
    found = find(folder, roster)
    assert [(h.student.id, len(h.paths)) for h in found] == [
        ("101", 2),
        ("102", 1),
        ("103", 0),
        ("somebody.zip", 1),
    ]
    assert [h.student.on_roster for h in found] == [True, True, True, False]
    with pytest.raises(LessonError, match="There are no submissions"):
        find(tmp_path / "nowhere", roster)


def zipped(members: dict[str, bytes], path: Path, link: str = "") -> Path:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for name, data in members.items():
            info = zipfile.ZipInfo(name)
            info.compress_type = zipfile.ZIP_DEFLATED
            if name == link:
                info.external_attr = (stat.S_IFLNK | 0o777) << 16
            archive.writestr(info, data)
    return path


def test_folders_zips_and_zips_in_folders_are_read(tmp_path: Path) -> None:
    folder = tmp_path / "ada"
    (folder / "deep" / ".ipynb_checkpoints").mkdir(parents=True)
    (folder / "deep" / "b.ipynb").write_bytes(b"B")
    (folder / "deep" / ".ipynb_checkpoints" / "b-checkpoint.ipynb").write_bytes(b"old")
    (folder / "data.bin").write_bytes(b"x")
    zipped({"a.ipynb": b"A", "__MACOSX/._a.ipynb": b"junk", "x.py": b""}, folder / "hand in.zip")
    contents = read((folder,))
    assert contents.notebooks == {"ada/deep/b.ipynb": b"B", "ada/hand in.zip/a.ipynb": b"A"}
    assert not contents.refused
    assert contents.digest != read((folder / "deep",)).digest


@pytest.mark.parametrize(
    ("members", "link", "reason"),
    [
        ({"../../evil.ipynb": b"x"}, "", "leads out"),
        ({"/etc/evil.ipynb": b"x"}, "", "leads out"),
        ({"..\\evil.ipynb": b"x"}, "", "leads out"),
        ({"C:\\evil.ipynb": b"x"}, "", "leads out"),
        ({"a.ipynb": b"/etc/passwd"}, "a.ipynb", "symbolic link"),
        ({"a.ipynb": b"0" * (2 << 20)}, "", "larger than 1 MB"),
        ({f"{n}.ipynb": b"" for n in range(2001)}, "", "more than 2000 files"),
        ({"readme.md": b""}, "", "No notebook"),
    ],
    ids=["slip", "absolute", "backslashes", "drive", "link", "bomb", "many", "empty"],
)
def test_a_hostile_zip_is_refused_with_a_reason(
    members, link: str, reason: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(submissions, "LARGEST", 1 << 20)
    contents = read((zipped(members, tmp_path / "ada.zip", link),))
    assert reason in contents.refused
    assert contents.notebooks == {}


def test_a_zip_that_lies_about_its_size_is_read_no_further_than_allowed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(submissions, "LARGEST", 1 << 20)
    path = zipped({"a.ipynb": b"0" * (2 << 20)}, tmp_path / "ada.zip")
    data = path.read_bytes()
    size = (2 << 20).to_bytes(4, "little")
    assert data.count(size) >= 1
    path.write_bytes(data.replace(size, (10).to_bytes(4, "little")))
    assert read((path,)).refused


@pytest.mark.parametrize("data", [b"", b"PK\x03\x04garbage", b"PK\x05\x06" + b"\xff" * 18])
def test_a_damaged_zip_is_refused(data: bytes, tmp_path: Path) -> None:
    (tmp_path / "ada.zip").write_bytes(data)
    assert read((tmp_path / "ada.zip",)).refused


def test_an_encrypted_or_oddly_packed_zip_is_refused(tmp_path: Path) -> None:
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w", zipfile.ZIP_LZMA) as archive:
        archive.writestr("a.ipynb", b"x")
    (tmp_path / "a.zip").write_bytes(stream.getvalue())
    assert "unusual" in read((tmp_path / "a.zip",)).refused
    plain = bytearray(zipped({"a.ipynb": b"x"}, tmp_path / "b.zip").read_bytes())
    plain[plain.index(b"PK\x01\x02") + 8] |= 1
    (tmp_path / "b.zip").write_bytes(plain)
    assert "encrypted" in read((tmp_path / "b.zip",)).refused


@pytest.mark.skipif(os.name == "nt", reason="links and pipes of POSIX")
def test_links_and_pipes_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    secret = tmp_path / "solution.ipynb"
    secret.write_text("the reference")
    link = tmp_path / "ada.ipynb"
    link.symlink_to(secret)
    assert "symbolic link" in read((link,)).refused
    inside, below, pipe, alias = (tmp_path / name for name in ("inside", "below", "pipe", "alias"))
    for folder in (inside, below, pipe):
        folder.mkdir()
    (inside / "a.ipynb").symlink_to(secret)
    (below / "folder").symlink_to(tmp_path, target_is_directory=True)
    os.mkfifo(pipe / "a.ipynb")
    alias.symlink_to(tmp_path, target_is_directory=True)
    assert "symbolic link" in read((inside,)).refused
    assert "symbolic link" in read((below,)).refused
    assert "symbolic link" in read((alias,)).refused
    assert "no plain file" in read((pipe,)).refused
    assert find(tmp_path, [Student("ada", "", ("ada",))])[0].paths == (link,)


def test_the_allowance_is_one_for_the_whole_submission(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(submissions, "LARGEST", 10)
    for name in ("a", "b"):
        (tmp_path / f"{name}.ipynb").write_bytes(b"123456")
    assert not read((tmp_path / "a.ipynb",)).refused
    assert read((tmp_path / "a.ipynb", tmp_path / "b.ipynb")).refused
