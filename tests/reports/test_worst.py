"""The worst of all attacks is per image, over those that attacked the same images in the same ball."""

import pytest
from fake_runs import fake_run

from gambeson.records import Run
from gambeson.reports import report
from gambeson.reports.read import read
from gambeson.reports.sections.worst import worst


@pytest.fixture
def run(tmp_path):
    """Twenty images: PGD breaks 0 and 1, FGSM 1 to 3, a targeted attack all; of the first ten, DDN finds 5 and 6, one
    of them inside the ball.
    """
    opened = Run.open(fake_run(tmp_path / "run", attacks=[], examples=20))
    clean = opened.records(next(iter(opened.evaluations("clean")))["id"])
    from fake_runs import attack_settings

    listed = attack_settings("linf", "base", 0.1, None)
    steps = ("steps", "step_size", "step_rule", "loss", "restarts", "random_start", "early_stop", "step_rule_settings")
    near = {name: value for name, value in listed.items() if name not in steps}
    near |= {"attack": "fmn", "eps": None, "options": {"steps": 100}}
    everyone = set(range(20))
    cases = ((listed, 20, {0, 1}), ({**listed, "attack": "fgsm", "steps": 1}, 20, {1, 2, 3}),
             ({**listed, "targeted": "random"}, 20, everyone), (near, 10, {5, 6}))  # fmt: skip
    data = next(iter(opened.evaluations("clean")))["data"]
    with opened.writing() as writer:
        for settings, images, fell in cases:
            writing = writer.evaluation("attacked", settings, data, images, "gambeson attack", "now")
            for row, record in enumerate(clean[:images]):
                label = record["label"]
                told = {name: record[name] for name in ("index", "hash", "label", "seconds")}
                away = 0.05 if row == 5 else 0.2 if row == 6 else 0.1
                told |= {"predict_clean": label, "predict": (label + 1) % 4 if row in fell else label,
                         "correct": row not in fell, "success": row in fell, "loss": 1.0, "distance": away,
                         "target": (label + 1) % 4 if settings["targeted"] else None}  # fmt: skip
                writing.append(told)
    return opened.path


def test_every_set_of_images_has_its_worst_case(run) -> None:
    exhibit = worst(read([run]))
    assert exhibit is not None
    headers = [column.header for column in exhibit.table.columns]
    rows = [dict(zip(headers, row, strict=True)) for row in exhibit.table.rows]
    assert [(row["images"], row["attacks"], row["accuracy, worst of all"].count) for row in rows] == [
        (20, 2, 16),  # all but 0 to 3
        (10, 3, 5),  # and 5, but not 6, which lies outside
    ]
    assert [(row["strongest alone"], row["accuracy, strongest alone"].count) for row in rows] == [
        ("fgsm-1", 17),
        ("fgsm-1", 7),
    ]


def test_it_is_on_the_page(run, tmp_path) -> None:
    assert "accuracy, worst of all" in report([run], tmp_path / "report").read_text()


def test_one_attack_has_no_worst(tmp_path) -> None:
    assert worst(read([fake_run(tmp_path / "run", attacks=[])])) is None
