"""The house keeps its promises: every registered name has its page and its test, nothing heavy is imported early."""

import subprocess
import sys
from pathlib import Path

import pytest

from gambeson import attacks, certificates, losses, recipe

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
