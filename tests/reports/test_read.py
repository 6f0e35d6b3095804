"""What is no run and no log, and what is broken, is named by file and line."""

import json

import pytest
from fake_runs import fake_run, write_log

from gambeson.errors import UserError
from gambeson.reports import report
from gambeson.reports.read import read

# Real rows of locuslab/smoothing (ImageNet, sigma 0.25 and 0.50), the second an abstention.
ROWS = "idx\tlabel\tpredict\tradius\tcorrect\ttime\n"
ROWS += "0\t0\t0\t0.165\t1\t0:02:31.238689\n300\t6\t-1\t0.0\t0\t0:02:30.914410\n"


def test_a_log_in_the_fields_own_format(tmp_path):
    path = tmp_path / "sigma_0.25"
    path.write_text(ROWS)
    (source,) = read([path])
    (series,) = source.certified
    assert (source.name, source.kind, series.norm) == ("sigma_0.25", "log", "l2")
    assert (series.noise, series.alpha, series.certificate, series.max_radius) == (None, None, None, None)
    assert (series.images.total, series.images.right, series.images.abstained, series.images.wrong) == (2, 1, 1, 0)
    assert series.seconds.tolist() == [151.238689, 150.91441]


def test_times_as_every_generation_of_the_fields_code_writes_them(tmp_path):
    head = "idx\tlabel\tpredict\tradius\tcorrect\ttime\n"
    for number, (text, seconds) in enumerate({"15.4": 15.4, "0:02:31.5": 151.5, "1 day, 0:00:01": 86401.0}.items()):
        log = tmp_path / f"log{number}.tsv"
        log.write_text(f"{head}0\t3\t3\t0.378\t1\t{text}\n")
        assert read([log])[0].certified[0].seconds.tolist() == [seconds]


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("0\t0\t0\t0.1", "4 columns instead of 6"),
        ("0\t0\tx\t0.1\t1\t0:00:01", "invalid literal"),
        ("0\t0\t1\t0.1\t1\t0:00:01", "correct is '1' for label 0 and predict 1"),
        ("0\t0\t0\tnan\t1\t0:00:01", "radius is nan"),
        ("0\t0\t0\t-0.1\t1\t0:00:01", "radius is -0.1"),
        ("0\t0\t0\t0.1\t1\tsoon", "expected numbers"),
    ],
)
def test_a_broken_line_of_a_log(tmp_path, line, words):
    path = tmp_path / "a.tsv"
    path.write_text(ROWS + line + "\n")
    with pytest.raises(UserError, match=r"a\.tsv, line 4") as caught:
        read([path])
    assert words in str(caught.value)


def test_an_image_twice_in_a_log(tmp_path):
    with pytest.raises(UserError, match="image 3 occurs twice"):
        read([write_log(tmp_path / "a.tsv", [(3, 0, 0, 0.1, 1), (3, 0, 0, 0.2, 1)])])


@pytest.mark.parametrize("content", ["hello\n", "", "idx,label,predict,radius,correct,time\n", "idx\tlabel\tpredict\n"])
def test_neither_run_nor_log(tmp_path, content):
    path = tmp_path / "a.txt"
    path.write_text(content)
    with pytest.raises(UserError, match="neither a run folder nor a log"):
        read([path])


@pytest.mark.parametrize(
    ("columns", "words"),
    [
        (("alpha", "low"), "line 2: alpha"),
        (("draws", "1e5"), "line 2: draws"),
        (("note", "\udcff"), "no text in UTF-8"),
    ],
)
def test_a_further_column_of_a_log_that_cannot_be_read(tmp_path, columns, words):
    name, value = columns
    log = tmp_path / "theirs.tsv"
    text = f"idx\tlabel\tpredict\tradius\tcorrect\ttime\t{name}\n0\t7\t7\t0.9\t1\t0:00:01\t{value}\n"
    log.write_bytes(text.encode("utf-8", "surrogateescape"))
    with pytest.raises(UserError, match=words):
        read([log])


def test_missing_sources(tmp_path):
    with pytest.raises(UserError, match="does not exist"):
        read([tmp_path / "none"])
    with pytest.raises(UserError, match=r"has no header\.json"):
        read([tmp_path])
    with pytest.raises(UserError, match="nothing to report"):
        read([])


def test_an_empty_log_and_a_run_without_records(tmp_path):
    (tmp_path / "a.tsv").write_text(ROWS.splitlines()[0] + "\n")
    with pytest.raises(UserError, match="holds no image"):
        read([tmp_path / "a.tsv"])
    run = fake_run(tmp_path / "run", examples=2)
    (run / "records.jsonl").write_text("")
    with pytest.raises(UserError, match="holds no records yet"):
        report([run], tmp_path / "out")


@pytest.fixture
def lines(tmp_path):
    run = fake_run(tmp_path / "run", examples=3)
    return run, (run / "records.jsonl").read_text().splitlines(keepends=True)


def test_a_torn_last_line_is_dropped_and_the_evaluation_called_unfinished(tmp_path, lines):
    run, kept = lines
    (run / "records.jsonl").write_text("".join(kept)[:-20])
    (source,) = read([run])
    assert source.certified[0].images.total == 2
    page = report([run], tmp_path / "out").read_text()
    assert "holds 2 of 3 images" in page


@pytest.mark.parametrize(
    ("broken", "words"),
    [
        ("{\n", "not JSON"),
        ("[1]\n", "not an object"),
        ("{}\n", "its evaluation is None"),
        ('{"evaluation":"measured-1"}\n', "of no kind that this version reads"),
        ('{"evaluation":"certified-none"}\n', "field 'index': Field required"),
    ],
)
def test_a_broken_line_of_a_run(lines, broken, words):
    run, kept = lines
    (run / "records.jsonl").write_text("".join([kept[0], broken, *kept[1:]]))
    with pytest.raises(UserError, match=r"records\.jsonl, line 2") as caught:
        read([run])
    assert words in str(caught.value)


def test_a_record_that_lacks_a_field_or_occurs_twice(lines):
    run, kept = lines
    record = json.loads(kept[-1])
    del record["p_lower"]
    (run / "records.jsonl").write_text("".join([*kept[:-1], json.dumps(record) + "\n"]))
    with pytest.raises(UserError, match=r"line 6: field 'p_lower'"):
        read([run])
    (run / "records.jsonl").write_text("".join([*kept, kept[0]]))
    with pytest.raises(UserError, match=r"line 7: image 0 of clean-\w+ is recorded twice"):
        read([run])


def test_records_of_an_evaluation_that_is_not_there(lines):
    run, _ = lines
    path = next((run / "evaluations").glob("certified-*"))
    path.unlink()
    with pytest.raises(UserError, match=f"holds records of '{path.stem}'.* no file of that name"):
        read([run])


def test_an_unknown_schema_and_kind(lines):
    run, _ = lines
    path = next((run / "evaluations").glob("certified-*"))
    path.write_text(path.read_text().replace('"certified"', '"measured"'))
    with pytest.raises(UserError, match="field 'kind': Input should be"):
        read([run])
    header = run / "header.json"
    header.write_text(header.read_text().replace('"schema": 1', '"schema": 9'))
    with pytest.raises(UserError, match="schema 9"):
        read([run])


def test_names_are_made_unique_by_the_parent_folder(tmp_path):
    paths = []
    for noise in ("noise_0.25", "noise_0.50"):
        (tmp_path / noise).mkdir()
        paths.append(write_log(tmp_path / noise / "sigma", [(0, 0, 0, 0.1, 1)]))
    assert [source.name for source in read(paths)] == ["noise_0.25/sigma", "noise_0.50/sigma"]
    with pytest.raises(UserError, match="named 2 times"):
        read([paths[0], paths[0]])
