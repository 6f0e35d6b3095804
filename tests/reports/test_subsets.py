"""Results on different images: named, never ranked against each other, and no order claimed."""

import csv
from dataclasses import replace

import numpy as np
import pytest
from fake_runs import attack_settings, fake_run

from gambeson.reports import report
from gambeson.reports.charts import Chart
from gambeson.reports.drawing import draw_chart
from gambeson.reports.empirical import numbered
from gambeson.reports.matching import matched
from gambeson.reports.read import read
from gambeson.reports.report import SECTIONS
from gambeson.reports.sections.both import both
from gambeson.reports.sections.certified import certified
from gambeson.reports.sections.gallery import gallery
from gambeson.reports.sections.overview import overview
from gambeson.reports.series import Images
from gambeson.reports.subsets import alike, differing, same_images, subset_name
from gambeson.reports.tables import best
from gambeson.reports.writers import to_csv

ATTACKS = [("l2", "base"), ("l2", "smoothed")]


def images(index, content="c", rule="all test images", hashes=True):
    index = np.array(index)
    nobody = np.zeros(len(index), dtype=int)
    found = tuple(f"{content}{i}" for i in index) if hashes else None
    return Images(index, nobody, nobody, nobody == 0, found, len(index), rule)


def cut(images, rows, rule):
    arrays = {name: getattr(images, name)[rows] for name in ("index", "label", "predict", "correct")}
    return replace(images, **arrays, hash=tuple(images.hash[row] for row in rows), planned=len(rows), rule=rule)


def fewer(source, rows, *, certified=(), rule="the first"):
    """The source with its attacks on some rows only, and each of its certifications on the rows of `certified` too."""
    rows = np.array(rows)
    attacked = tuple(
        replace(x, images=cut(x.images, rows, rule), predict_clean=x.predict_clean[rows], success=x.success[rows],
                distance=x.distance[rows], seconds=x.seconds[rows])
        for x in source.attacked
    )  # fmt: skip
    more = [
        replace(s, images=cut(s.images, np.array(part), f"subset {place}"), evaluation=f"certified-{place}",
                radius=s.radius[part], radius_real=s.radius_real[part], seconds=s.seconds[part])
        for place, part in enumerate(certified) for s in source.certified
    ]  # fmt: skip
    return replace(source, attacked=attacked, certified=(*source.certified, *more))


@pytest.fixture(scope="module")
def source(tmp_path_factory):
    return read([fake_run(tmp_path_factory.mktemp("r") / "a", examples=30, attacks=ATTACKS)])[0]


def rows(exhibit):
    return list(csv.DictReader(to_csv(exhibit.table).splitlines()))


def test_images_are_the_same_by_index_and_content_in_any_order():
    assert same_images(images([0, 20]), images([20, 0]))
    assert not same_images(images([0, 20]), images([0, 40]))
    assert not same_images(images([0, 20]), images([0, 20], content="train"))
    assert same_images(images([0, 20]), images([0, 20], hashes=False))
    log = images([0, 20], hashes=False)
    assert not same_images(log, replace(log, label=log.label + 1))
    assert alike([images([0]), images([20]), images([0])]) == [0, 1, 0]


def test_images_are_named_only_where_they_differ():
    one, two = images([0], rule="all test images, the first 1"), images([0, 20], rule=None)
    assert differing([two, two]) == ["", ""]
    assert differing([one, two]) == ["1 image (all test images, the first 1)", "2 images"]
    assert subset_name(two) == "2 images"
    assert "of the 1 image with equal index" in matched(one, images([0], content="other"))


def test_attacks_on_the_same_images_lie_above_the_real_valued_certified_curve(source):
    section = certified([source])
    assert "All curves of a figure are about the same images: up to alpha" in section.text[-1]
    assert "real-valued" in section.text[-1]
    assert "smaller by at most the rounding distance, 0.25 (l2)." in section.text[-1]
    assert "no order" not in section.text[-1]
    assert not any("images (" in line.name for line in section.exhibits[0].drawn.lines)


@pytest.mark.parametrize("kept", [range(10), range(29)])
def test_no_order_is_claimed_where_the_attacked_images_are_others(source, kept):
    section = certified([fewer(source, kept)])
    assert "no order of them is implied" in section.text[-1]
    assert "lies between" not in section.text[-1]
    names = [line.name for line in section.exhibits[0].drawn.lines]
    assert names == ["certified, 30 images (every 20th test image)",
                     f"under pgd-20 (A1), {len(kept)} images (the first)"]  # fmt: skip
    assert all(name in section.exhibits[0].caption for name in names)


def test_without_attacks_nothing_is_said_of_them(source):
    assert len(certified([replace(source, attacked=())]).text) == 1


def test_points_under_attack_are_not_joined(source):
    for exhibit in certified([source]).exhibits[:2]:
        drawn = draw_chart(exhibit.drawn).axes[0].get_lines()
        for line, plotted in zip(exhibit.drawn.lines, drawn, strict=False):
            attacked = "under" in line.name
            assert (line.shape == "markers") == attacked
            assert (plotted.get_linestyle() == "None") == attacked
            assert (plotted.get_marker() in ("None", None, "")) == (not attacked)


def test_both_accuracies_are_counted_on_the_images_that_both_saw(source):
    half = tuple(replace(s, radius_real=s.radius / 2) for s in source.certified)  # far enough to see a mix-up
    source = replace(source, certified=half)
    part = fewer(source, range(5, 17))
    (exhibit,) = both([part], numbered([part]))
    found = rows(exhibit)
    assert [row["l2 eps"] for row in found] == ["0.25", "0.5", "1.0"]
    series = next(s for s in source.certified if s.certificate == "gaussian_l2")
    for row in found:
        eps = float(row["l2 eps"])
        wanted = {"target": "smoothed", "norm": "l2", "eps": eps}
        attacked = next(x for x in source.attacked if wanted.items() <= x.settings.items())
        held = [bool(series.images.correct[i] and series.radius_real[i] >= eps) for i in range(5, 17)]
        predict, label = attacked.images.predict[5:17], attacked.images.label[5:17]
        assert row["images"] == "12"
        assert float(row["certified at eps, real-valued"]) == sum(held) / 12
        assert float(row["correct under attack"]) == (predict == label).sum() / 12
        assert float(row["abstained under attack"]) == (predict == -1).sum() / 12
        wrong = (predict != label) & (predict != -1)
        assert int(row["certified at eps, yet wrong"]) == (np.array(held) & wrong).sum()
    lattice = (series.radius >= 0.5)[5:17] & series.images.correct[5:17]
    assert float(found[1]["certified at eps, real-valued"]) < lattice.sum() / 12


def test_both_needs_common_images_and_the_noise_that_was_attacked(source):
    other = replace(source, attacked=tuple(
        replace(x, images=replace(x.images, hash=tuple("other" for _ in x.images.hash))) for x in source.attacked
    ))  # fmt: skip
    noise = replace(source, attacked=tuple(
        replace(x, settings=attack_settings("l2", "smoothed", 0.5, "gaussian:1")) for x in source.attacked
    ))  # fmt: skip
    assert both([other], numbered([other])) == both([noise], numbered([noise])) == []


def test_several_certifications_of_one_run_are_told_apart_everywhere(source):
    many = fewer(source, range(30), certified=[range(10), range(2), range(1)])
    for build in SECTIONS:
        for exhibit in section.exhibits if (section := build([many])) else ():
            if isinstance(exhibit.drawn, Chart):
                names = [line.name for line in exhibit.drawn.lines]
                assert len(set(names)) == len(names)
            if exhibit.table.columns[0].header == "run":
                printed = [tuple(map(str, row)) for row in exhibit.table.rows]
                assert len(set(printed)) == len(printed)
    names = " ".join(line.name for line in certified([many]).exhibits[0].drawn.lines)
    assert "30 images (every 20th test image)" in names
    assert "1 image (subset 2)" in names
    assert "1 images" not in certified([many]).exhibits[0].caption


def test_one_run_certified_twice_on_the_same_images_is_told_apart_by_its_settings(source):
    (again, *_) = source.certified
    twice = replace(source, certified=(*source.certified, replace(again, evaluation="certified-b", draws=5000)))
    names = [line.name for line in certified([twice]).exhibits[0].drawn.lines]
    assert len(set(names)) == len(names)
    assert any("n 5,000, alpha 0.001" in name for name in names)


def test_the_best_is_marked_among_rows_on_the_same_images_only(tmp_path):
    a = fake_run(tmp_path / "a", method="noisy", quality=1.0, examples=30)
    sources = read([a, fake_run(tmp_path / "b", quality=2.5, examples=30, seed=1)])
    train = fake_run(tmp_path / "c", quality=9.0, examples=30, image_seed=5)  # equal indices, other images
    mixed = [*sources, *read([train])]
    for build in (overview, certified):
        table = build(mixed).exhibits[0].table
        assert [column.header for column in table.columns][:3] == ["run", "images", "data"]
        marks = best(table)
        assert not any(marks[2])
        assert any(marks[1])
        assert marks[:2] == best(build(sources).exhibits[0].table)


def test_a_certified_radius_stands_only_under_attacks_on_its_own_classifier(source):
    shown = {exhibit.stem: exhibit for exhibit in gallery([source]).exhibits}
    base, smoothed = shown["gallery-a-base-l2"], shown["gallery-a-smoothed-gaussian-0.5-l2"]
    assert "certified" not in to_csv(base.table)
    assert not any("R " in text for text in base.drawn.captions)
    assert "certified l2 radius, gaussian:0.5" in to_csv(smoothed.table)
    assert all("\nR " in text for text in smoothed.drawn.captions)


def test_a_radius_of_another_image_of_equal_index_is_not_shown(source):
    other = tuple(
        replace(s, images=replace(s.images, hash=tuple("other" for _ in s.images.hash))) for s in source.certified
    )
    for exhibit in gallery([replace(source, certified=other)]).exhibits:
        assert "certified" not in to_csv(exhibit.table)


def test_the_title_is_not_repeated(tmp_path):
    run = fake_run(tmp_path / "only", examples=1)
    text = report([run], tmp_path / "out").read_text()
    assert "<h1>Robustness of only</h1>" in text
    assert "<p>only</p>" not in text
    assert "1 images" not in text
    long = [fake_run(tmp_path / f"{'long' * 10}{place}", examples=1) for place in range(3)]
    text = report(long, tmp_path / "three").read_text()
    assert "<h1>Robustness of 3 runs</h1>" in text
    assert f"<p>{', '.join(path.name for path in long)}</p>" in text
