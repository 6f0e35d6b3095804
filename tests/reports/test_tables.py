"""The three files of a table hold the same numbers."""

import csv
import io

import pytest

from gambeson.reports.shares import Share
from gambeson.reports.tables import Column, Table, best, printed
from gambeson.reports.writers import to_csv, to_latex, to_markdown

TABLE = Table(
    [Column("run"), Column("accuracy, l2 0.5", "share", "max"), Column("average radius (l2)", "radius", "max")],
    [["a_b", Share(450, 500), 0.99951], ["b|c", Share(440, 500), 1.25], ["log", None, None]],
)


def test_csv_is_exact_and_holds_the_interval():
    rows = list(csv.reader(io.StringIO(to_csv(TABLE))))
    assert rows[0][1:4] == [
        "accuracy, l2 0.5",
        "accuracy, l2 0.5: lower end of the 95% interval",
        "accuracy, l2 0.5: upper end of the 95% interval",
    ]
    assert float(rows[1][1]) == 0.9
    assert [round(float(end), 4) for end in rows[1][2:4]] == [0.8703, 0.9249]  # R: binom.test(450, 500)$conf.int
    assert float(rows[1][4]) == 0.99951
    assert rows[3] == ["log", "", "", "", ""]


def test_markdown_and_latex_print_the_same_cells():
    markdown, latex = to_markdown(TABLE, "Caption."), to_latex(TABLE, "100 % & more", "stem")
    for cell in ("0.900 [0.870, 0.925]", "0.999", "1.250"):
        assert cell in markdown
        assert cell in latex
    assert "**0.900 [0.870, 0.925]**" in markdown
    assert "\\textbf{1.250}" in latex
    assert "a\\_b" in latex
    assert "b\\|c" in markdown
    assert "\\caption{100 \\% \\& more}" in latex
    assert latex.count("\\\\\n") == 4


def test_best_marks_ties_and_nothing_where_all_are_equal():
    columns = [Column("x", "accuracy", "max"), Column("y", "accuracy", "min"), Column("z", "accuracy")]
    table = Table(columns, [[0.5, 0.1, 1], [0.5, 0.2, 2], [0.4, 0.2, 3]])
    assert best(table) == [[True, True, False], [True, False, False], [False, False, False]]
    assert not any(map(any, best(Table(columns[:1], [[0.5], [0.5]]))))


def test_only_rows_of_one_group_are_compared():
    table = Table([Column("x", "accuracy", "max")], [[0.1], [0.9], [0.2], [0.8], [1.0]], groups=[0, 1, 0, 2, None])
    assert best(table) == [[False], [False], [True], [False], [False]]
    with pytest.raises(ValueError, match="1 groups for 2 rows"):
        Table([Column("x")], [["a"], ["b"]], groups=[0])


def test_limits_are_rounded_outwards():
    assert printed(Table([Column("x", "share")], [[Share(1, 3)]])) == [["0.3333 [0.008, 0.906]"]]  # exact .0084, .9057
