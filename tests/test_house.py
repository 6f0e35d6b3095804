"""The house keeps its promises: every registered name has its page and its test, nothing heavy is imported early."""

import re
import subprocess
import sys
from dataclasses import fields
from pathlib import Path

import pytest

from gambeson import attacks, certificates, losses, recipe
from gambeson.evaluation.verified import Verdict
from gambeson.schema import records, run, settings
from gambeson.schema.strict import Strict

ROOT = Path(__file__).parents[1]
METHODS = [*losses.__all__, *attacks.__all__, *certificates.__all__]


@pytest.mark.parametrize("name", METHODS)
def test_every_method_attack_and_certificate_has_a_docs_page_and_is_tested(name: str) -> None:
    page = ROOT / "docs" / "methods" / f"{'pgd' if name == 'fgsm' else name}.md"
    assert name in page.read_text().lower()
    tests = "".join(path.read_text() for path in (ROOT / "tests").rglob("test_*.py"))
    assert f"{name}" in tests


@pytest.mark.parametrize("name", losses.__all__)
def test_every_method_has_a_recipe(name: str) -> None:
    assert any(recipe.load(known).method.name == name for known in recipe.names())


@pytest.mark.parametrize("module", ["gambeson", "gambeson.cli", "gambeson.reports", "gambeson.certificates"])
def test_import_leaves_torch_alone(module: str) -> None:
    code = f"import sys, {module}; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_commands_begin_without_what_takes_seconds_to_import_and_few_of_them_need() -> None:
    heavy = "torch._dynamo", "scipy.stats", "matplotlib", "ray"
    code = f"import sys, gambeson.evaluation, gambeson.suites; print([n for n in {heavy} if n in sys.modules])"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout == "[]\n"


def test_no_torchvision_anywhere() -> None:
    for path in (ROOT / "gambeson").rglob("*.py"):
        assert "import torchvision" not in path.read_text()


def test_every_lazy_name_exists() -> None:
    import gambeson

    for name in gambeson.__all__:
        assert callable(getattr(gambeson, name))
    with pytest.raises(AttributeError, match="it has"):
        _ = gambeson.nothing


def test_every_page_is_found_from_the_first() -> None:
    pages = {path.relative_to(ROOT / "docs").as_posix() for path in (ROOT / "docs").rglob("*.md")}
    assert {page for page in pages if page not in (ROOT / "mkdocs.yml").read_text()} == set()
    assert {page for page in pages if f"({page})" not in (ROOT / "docs" / "index.md").read_text()} == {"index.md"}


WRITTEN = {
    "Certified records": [records.CertifiedRecord],
    "Other records": [records.CleanRecord, records.AttackedRecord, records.DiagnosedRecord],
    "Evaluations": [run.Evaluation, run.About],
    "Settings of a certification": [settings.CertifiedSettings, settings.Form, settings.ScoreBins],
    "Settings of an attack": [
        settings.AttackedSettings,
        settings.Member,
        settings.DiagnosedSettings,
        settings.Looked,
        settings.CleanSettings,
    ],
    "Header": [run.Header],
    "Smaller files": [records.Slice, records.Counted, run.Check, run.FoundForm, run.Forms],
}


def test_every_field_of_a_run_folder_is_explained_in_its_section() -> None:
    page = (ROOT / "docs" / "records.md").read_text()
    named = {part.partition("\n")[0]: set(re.findall(r"`([\w.]+)`", part)) for part in page.split("\n## ")}
    for section, models in WRITTEN.items():
        for model in models:
            assert {field.alias or name for name, field in model.model_fields.items()} <= named[section]
    assert {f"budget.{name}" for name in settings.Grid.model_fields} <= named["Settings of a certification"]
    assert {field.name for field in fields(Verdict)} <= named["Smaller files"]
    explained = {settings.Grid, records.Record, *(model for models in WRITTEN.values() for model in models)}
    assert set(Strict.__subclasses__()) | set(records.Record.__subclasses__()) == explained
