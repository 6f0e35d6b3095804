"""Curves of smallest perturbations end where the last image fell, and say which images they are about."""

from dataclasses import replace

import numpy as np
from fake_runs import fake_run

from gambeson.reports.read import read
from gambeson.reports.sections.distortion import distortion


def nearest(attacked, distances, total=None):
    """An attack for the smallest perturbation on the first images: the distances of those that it fooled."""
    count = total or len(distances)
    images = attacked.images
    kept = {name: getattr(images, name)[:count] for name in ("index", "label", "predict", "correct", "hash")}
    fell = np.arange(count) < len(distances)
    kept |= {"predict": np.where(fell, (kept["label"] + 1) % 4, kept["label"]), "correct": ~fell}
    away = np.append(distances, np.zeros(count - len(distances)))
    settings = {**attacked.settings, "attack": "ddn", "eps": None, "options": {"steps": 100}}
    del settings["steps"]
    return replace(attacked, images=replace(images, **kept), settings=settings, success=fell, distance=away,
                   predict_clean=attacked.predict_clean[:count])  # fmt: skip


def test_the_last_image_that_falls_is_drawn(tmp_path) -> None:
    (source,) = read([fake_run(tmp_path / "a", examples=5, attacks=[("l2", "base")])])
    first = source.attacked[-1]
    shown = distortion([replace(source, attacked=(nearest(first, [0.1, 0.2, 0.3]), nearest(first, [0.1], 4)))])
    assert shown is not None
    chart = shown.exhibits[0].drawn
    assert [line.y[-1] for line in chart.lines] == [0.0, 0.75]  # three of three fell, one of four
    assert [line.x[-1] for line in chart.lines] == [0.3, 0.1]
    assert [name in line.name for name, line in zip(("3 images", "4 images"), chart.lines, strict=True)] == [True, True]


def test_every_attack_has_its_card(tmp_path) -> None:
    (source,) = read([fake_run(tmp_path / "a", examples=5, attacks=[("l2", "base")])])
    found = nearest(source.attacked[-1], [0.1, 0.2])
    other = replace(found, settings={**found.settings, "options": {"steps": 50}})
    section = distortion([replace(source, attacked=(found, other))])
    assert section is not None
    names = [line.name for line in section.exhibits[0].drawn.lines]
    assert ["(D1)" in names[0], "(D2)" in names[1]] == [True, True]
    [steps] = [row for row in section.exhibits[-1].table.rows if row[0] == "steps"]
    assert steps[1:] == ["100", "50"]


def test_many_runs_are_drawn_apart_by_attack_and_one_run_is_not(tmp_path) -> None:
    sources = read([fake_run(tmp_path / name, examples=5, attacks=[("l2", "base")]) for name in "abcde"])

    def with_two(source, steps=(100, 50)):
        found = nearest(source.attacked[-1], [0.1, 0.2])
        return replace(source, attacked=tuple(
            replace(found, settings={**found.settings, "options": {"steps": n}}) for n in steps
        ))  # fmt: skip

    section = distortion([with_two(source) for source in sources])
    stems = {exhibit.stem: len(exhibit.drawn.lines) for exhibit in section.exhibits if exhibit.drawn}
    assert stems == {"distortion-mnist-l2-ddn-100": 5, "distortion-mnist-l2-ddn-50": 5}
    section = distortion([with_two(sources[0], range(1, 12))])
    assert [len(exhibit.drawn.lines) for exhibit in section.exhibits if exhibit.drawn] == [11]
