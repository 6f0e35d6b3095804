"""A gallery shows a certified radius only where it is a promise about that attack."""

import csv

import pytest
from fake_runs import fake_run

from gambeson.reports.read import read
from gambeson.reports.sections.gallery import gallery
from gambeson.reports.writers import to_csv


@pytest.fixture(scope="module")
def shown(tmp_path_factory):
    attacks = [("l2", "base"), ("l2", "smoothed"), ("linf", "smoothed")]
    (source,) = read([fake_run(tmp_path_factory.mktemp("runs") / "a", examples=12, attacks=attacks)])
    return source, {exhibit.stem: exhibit for exhibit in gallery([source]).exhibits}


def radii(exhibit):
    rows = csv.DictReader(to_csv(exhibit.table).splitlines())
    return {int(row["image"]): float(row[name]) for row in rows for name in row if "radius" in name}


def test_the_attacked_smoothed_classifier_has_its_radius_in_the_norm_of_the_attack(shown):
    source, exhibits = shown
    told = radii(exhibits["gallery-a-smoothed-gaussian-0.5-l2"])
    tight = next(series for series in source.certified if series.certificate == "gaussian_l2")
    known = zip(tight.images.index, tight.images.correct, tight.radius, strict=True)
    expected = {int(index): float(radius) if correct else 0.0 for index, correct, radius in known}
    assert len(told) == 6
    assert any(told.values())
    assert told == pytest.approx({index: expected[index] for index in told}, abs=1e-12)


@pytest.mark.parametrize("stem", ["gallery-a-smoothed-gaussian-0.5-linf", "gallery-a-base-l2"])
def test_an_attack_in_another_norm_or_on_the_base_classifier_has_none(shown, stem):
    exhibit = shown[1][stem]
    assert radii(exhibit) == {}
    assert "R =" not in exhibit.caption
