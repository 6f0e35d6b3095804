"""gambeson predict: pictures in, classes or abstentions out."""

import numpy as np
import pytest
from PIL import Image

import gambeson as package
from gambeson.models import from_factory
from gambeson.records import Run
from gambeson.smoothed import classifier
from gambeson.smoothed.serving import smooth


@pytest.fixture
def photos(tmp_path):
    """The first test digits as pictures; the embedded digits have 16 levels, a picture 255."""
    folder = tmp_path / "photos"
    folder.mkdir()
    data = package.load("digits", "test")
    for row in range(6):
        pixels = (data.pixels([row])[0, 0] * 255).round().byte().numpy()
        Image.fromarray(pixels).save(folder / f"{row}-is-{int(data.labels[row])}.png")
    return folder


def test_pictures_are_answered_like_the_images_that_they_show(gambeson, run, photos) -> None:
    done = gambeson("predict", photos, "--model", run, "--draws", 300, "--seed", 1)
    assert done.status == 0, done.err
    head, *rows = [line.split("\t") for line in done.out.splitlines()]
    assert head == ["picture", "class"]
    assert len(rows) == 6
    right = sum(row[0].endswith(f"is-{row[1]}.png") for row in rows)
    assert right >= 4
    assert gambeson("predict", photos, "--model", run, "--draws", 300, "--seed", 1).out == done.out


def test_the_form_is_that_in_which_the_run_was_certified(gambeson, run, photos, monkeypatch) -> None:
    words = ("--noise", "gaussian:0.25", "--draws", 200)
    assert gambeson("certify", run, *words, "--limit", 2, "--batch", 100, "--memory", "contiguous").status == 0
    forms = []

    def spy(*given, form, **more):
        forms.append(form)
        return smooth(*given, form=form, **more)

    monkeypatch.setattr(classifier, "smooth", spy)
    done = gambeson("predict", photos, "--model", run, *words)
    assert (done.status, done.err) == (0, "")
    (evaluation,) = Run.open(run).evaluations("certified")
    assert [form.settings() for form in forms] == [evaluation["settings"]["form"]]
    assert forms[0].batch == 100


def test_radii_come_with_the_answers(gambeson, run, photos) -> None:
    words = ("--model", run, "--radii", "0,0.1", "--draws", 2000, "--noise", "gaussian:0.25")
    done = gambeson("predict", *sorted(photos.iterdir())[:3], *words)
    assert done.status == 0, done.err
    head, *rows = [line.split("\t") for line in done.out.splitlines()]
    assert head == ["picture", "class", "radius", "radius_on_lattice"]
    radii = [float(row[2]) for row in rows]
    assert len(radii) == 3
    assert max(radii) > 0.03
    # A picture has 255 levels, the lattice 16: the way to it comes off both, and the grid asks for as much more.
    assert all(float(row[2]) < float(row[3]) for row in rows)
    assert max(float(row[3]) for row in rows) >= 0.1


@pytest.mark.parametrize("words", [("--smoothing", "soft"), ("--noise", "splitting:0.1")])
def test_radii_that_cost_nothing_more_come_by_themselves(gambeson, run, photos, words) -> None:
    done = gambeson("predict", *sorted(photos.iterdir())[:2], "--model", run, "--draws", 300, *words)
    assert done.status == 0, done.err
    head, *rows = [line.split("\t") for line in done.out.splitlines()]
    assert head == ["picture", "class", "radius", "radius_on_lattice"]
    assert [len(row) for row in rows] == [4, 4]


def test_mistakes_are_named(gambeson, run, photos, tmp_path) -> None:
    Image.new("L", (9, 9)).save(tmp_path / "large.png")
    (tmp_path / "none.png").write_text("no picture")
    for words, message in (
        ((tmp_path / "missing.png", "--model", run), "does not exist"),
        (
            (tmp_path / "large.png", photos, "--model", run),
            "large.png: the picture is (channels, height, width) (1, 9, 9), the model takes (1, 8, 8); convert and "
            "resize it",
        ),
        ((tmp_path / "none.png", "--model", run), "cannot be read"),
        ((photos, "--model", tmp_path), "a run folder?"),
        ((photos, "--model", run, "--draws", 2), "even if all agreed"),
        ((photos, "--model", run, "--smoothing", "mean"), "smoothing is 'mean'"),
    ):
        done = gambeson("predict", *words)
        assert (done.status, "Traceback" in done.err) == (2, False), done.err
        assert message in done.err, done.err


def test_the_class_of_the_largest_mean_score_is_served_as_it_was_certified(gambeson, run, photos) -> None:
    words = ("--noise", "gaussian:0.25", "--draws", 300)
    soft = ("--smoothing", "soft")
    assert gambeson("certify", run, *words, *soft, "--limit", 2, "--batch", 100).status == 0
    done = gambeson("predict", photos, "--model", run, *words, *soft)
    assert (done.status, done.err) == (0, "")
    assert len(done.out.splitlines()) == 7
    votes = gambeson("predict", photos, "--model", run, *words)
    assert "answers are by the vote, which was not certified with gaussian:0.25 (the mean score was)" in votes.err
    assert gambeson("predict", photos, "--model", run, *words, *soft, "--radii", "0").status == 2


def test_it_answers_on_the_device_that_the_run_was_certified_on(gambeson, run, photos, monkeypatch) -> None:
    monkeypatch.setattr("torch.cuda.is_available", lambda: False)
    words = ("--noise", "gaussian:0.25", "--draws", 200)
    assert gambeson("certify", run, *words, "--limit", 2).status == 0
    (path,) = (run / "evaluations").glob("certified-*.json")
    path.write_text(path.read_text().replace('"device": "cpu"', '"device": "cuda"'))
    done = gambeson("predict", photos, "--model", run, *words)
    assert (done.status, "device cuda cannot be used here" in done.err) == (2, True)
    done = gambeson("predict", photos, "--model", run, *words, "--device", "cpu")
    assert (done.status, "was certified with unit " in done.err) == (0, False)


def test_a_model_that_is_given_is_left_as_it_was(gambeson, own, tmp_path) -> None:
    words = ("--weights", "weights.pt", "--mean", "0.5", "--std", "0.25", "--data", "digits", "--limit", 3)
    words += ("--noise", "gaussian:0.25", "--draws", 200, "--out", tmp_path / "r")
    assert gambeson("certify", f"{own.name}:bare", *words).status == 0
    model = from_factory(f"{own.name}:bare", "weights.pt", mean=[0.5], std=[0.25]).train()
    one = package.SmoothedClassifier.from_run(tmp_path / "r", "gaussian:0.25", model=model)
    assert one.predict(package.load("digits", "test").pixels([0]), draws=50).shape == (1,)
    assert model.training


def test_float_data_need_not_know_all_classes(gambeson, own, tmp_path) -> None:
    """Labels 0 to 6 and a model of ten classes: what is certified can be served."""
    test = package.load("digits", "test")
    rows = [row for row, label in enumerate(test.labels.tolist()) if label < 7][:20]
    np.savez(tmp_path / "x.npz", x=test.pixels(rows).numpy(), y=test.labels[rows].numpy())
    words = ("--weights", "weights.pt", "--mean", "0.5", "--std", "0.25", "--data", f"npz:{tmp_path}/x.npz")
    words += ("--noise", "gaussian:0.25", "--draws", 200, "--budget", "fixed", "--out", tmp_path / "r")
    assert gambeson("certify", f"{own.name}:bare", *words).status == 0
    assert Run.open(tmp_path / "r").header["classes"] == list("0123456789")
    model = from_factory(f"{own.name}:bare", "weights.pt", mean=[0.5], std=[0.25])
    one = package.SmoothedClassifier.from_run(tmp_path / "r", "gaussian:0.25", model=model)
    assert one.predict(test.pixels([0]), draws=50).shape == (1,)
