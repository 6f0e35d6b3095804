"""Only equal images are compared."""

import csv
from dataclasses import replace

import numpy as np
from fake_runs import fake_run, images, write_log

from gambeson.reports.grouping import natural
from gambeson.reports.read import read
from gambeson.reports.sections.certified import certified
from gambeson.reports.sections.pairs import pairs
from gambeson.reports.sections.two_by_two import two_by_two
from gambeson.reports.writers import to_csv
from gambeson.stats.paired import paired


def test_two_runs_with_other_images_are_not_paired(tmp_path):
    a = fake_run(tmp_path / "a", method="noisy", examples=10)
    b = fake_run(tmp_path / "b", examples=10, image_seed=5)
    sources = read([a, b])
    section = pairs(sources)
    assert section.exhibits == []
    assert "not paired: 10 of the 10 images with equal index have other content (image 0 first)" in section.text[-1]
    assert two_by_two(sources) is None


def test_runs_on_the_same_images_are_paired_by_index_and_hash(tmp_path):
    sources = read([fake_run(tmp_path / "a", quality=1.0, examples=30), fake_run(tmp_path / "b", seed=3, examples=25)])
    (exhibit,) = pairs(sources).exhibits
    row = next(row for row in csv.DictReader(to_csv(exhibit.table).splitlines()) if row["l2 radius"] == "0.25")
    a, b = (source.certified[0] for source in sources)
    held = [s.images.correct[:25] & (s.radius[:25] >= 0.25) for s in (a, b)]
    expected = paired(*held, 0.05)
    assert int(row["images"]) == 25
    assert float(row["difference a − b"]) == expected.difference
    assert float(row["McNemar p"]) == expected.p_value
    assert "content hash" in exhibit.caption


def test_a_log_is_paired_by_index_and_label(tmp_path):
    index, _, label, _ = images(12)
    log = write_log(tmp_path / "log.tsv", [(i, y, y, 0.3, 1) for i, y in zip(index, label, strict=True)])
    other = write_log(tmp_path / "other.tsv", [(i, y + 1, y + 1, 0.3, 1) for i, y in zip(index, label, strict=True)])
    run = fake_run(tmp_path / "run", examples=12)
    assert "index and label" in pairs(read([run, log])).exhibits[0].caption
    assert "another label (image 0 first)" in pairs(read([run, other])).text[-1]


def test_natural_accuracy_is_that_of_the_same_images_not_of_equal_indices(tmp_path):
    (source,) = read([fake_run(tmp_path / "a", examples=10)])
    (clean,) = source.clean
    other = replace(clean, hash=tuple("other" for _ in clean.hash), correct=np.zeros(10, dtype=bool))
    both = replace(source, clean=(other, clean))
    assert natural(both, source.certified[0].images).count == clean.right
    assert natural(both, other).count == 0


def twice_certified(path, method, seed=0):
    """A run that was certified with both budgets, the grid first."""
    (source,) = read([fake_run(path, method=method, examples=30, seed=seed)])
    again = [replace(series, grid=(0.0, 0.25, 0.5), evaluation="grid") for series in source.certified]
    return replace(source, certified=(*again, *source.certified))


def test_budgets_are_named_and_like_is_compared_with_like(tmp_path):
    sources = [twice_certified(tmp_path / "a", "noisy"), twice_certified(tmp_path / "b", "stability", seed=3)]
    figure = certified(sources).exhibits[0].drawn
    assert {mark.name.split(",")[0] for mark in figure.marks} == {"largest of the grid", "largest possible"}
    drawn = figure.lines
    curves = [line.name for line in drawn if line.shape == "steps"]
    assert len(curves) == len(set(curves)) == 4
    assert sum("grid of radii" in name for name in curves) == 2
    assert len({(line.colour, line.dash) for line in drawn if line.shape == "steps"}) == 4
    (exhibit,) = pairs(sources).exhibits
    rows = list(csv.DictReader(to_csv(exhibit.table).splitlines()))
    assert {("grid of radii" in row["a"], "grid of radii" in row["b"]) for row in rows} == {
        (True, True),
        (False, False),
    }
    only = [sources[0], replace(sources[1], certified=sources[1].certified[: len(sources[1].certified) // 2])]
    rows = list(csv.DictReader(to_csv(pairs(only).exhibits[0].table).splitlines()))
    assert {("grid of radii" in row["a"], "grid of radii" in row["b"]) for row in rows} == {(True, True)}
    figure = two_by_two(sources).exhibits[0].drawn
    assert not any("grid" in line.name for line in figure.lines)
    assert "grid" not in figure.title
