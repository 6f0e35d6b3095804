"""gambeson predict: pictures in, classes or abstentions out."""

import pytest
from PIL import Image

import gambeson as package
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
    # A picture has 255 levels, the lattice 16: the way to it comes off both.
    assert all(float(row[2]) < float(row[3]) < 0.1 for row in rows)


def test_mistakes_are_named(gambeson, run, photos, tmp_path) -> None:
    Image.new("L", (9, 9)).save(tmp_path / "large.png")
    (tmp_path / "none.png").write_text("no picture")
    for words, message in (
        ((tmp_path / "missing.png", "--model", run), "does not exist"),
        ((tmp_path / "large.png", "--model", run), "convert and resize"),
        ((tmp_path / "none.png", "--model", run), "cannot be read"),
        ((photos, "--model", tmp_path), "a run folder?"),
        ((photos, "--model", run, "--draws", 2), "even if all agreed"),
    ):
        done = gambeson("predict", *words)
        assert (done.status, "Traceback" in done.err) == (2, False), done.err
        assert message in done.err, done.err
