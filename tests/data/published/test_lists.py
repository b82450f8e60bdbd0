"""Lines and tables: marks and ends of lines of other systems, and errors with their line."""

from pathlib import Path

import pytest

from sonopsis.data.catalogue import DataError
from sonopsis.data.published.lists import read_classes, read_table, read_text_lines


def test_a_mark_at_the_beginning_and_other_ends_of_lines_do_not_matter(tmp_path: Path) -> None:
    path = tmp_path / "a.csv"
    path.write_bytes(b'\xef\xbb\xbfname,n\r\n"caf\xc3\xa9, bar",1\r\n\r\nb,2')
    assert list(read_table(path, ("n",), lambda row: row["name"] + row["n"])) == ["café, bar1", "b2"]


def test_bytes_that_are_no_text_are_named(tmp_path: Path) -> None:
    path = tmp_path / "a.txt"
    path.write_bytes(b"good\nb\xffd\n")
    with pytest.raises(DataError, match=r"a\.txt, line 2: .*utf-8"):
        list(read_text_lines(path, str))


@pytest.mark.parametrize(("line", "says"), [("1,/m/a,B", "twice"), ("1,/m/b,", "no name"), ("1,/m/b", "3 fields")])
def test_a_wrong_class_is_named(line: str, says: str, tmp_path: Path) -> None:
    path = tmp_path / "classes.csv"
    path.write_text(f'index,mid,display_name\n0,/m/a,"A, or a"\n{line}\n')
    with pytest.raises(DataError, match=rf"classes\.csv, line 3: .*{says}"):
        read_classes(path)
