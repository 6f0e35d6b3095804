"""Put tables that were made from records into the pages that quote them.

    python results/fill.py

Replaces what stands between `<!-- table: PATH -->` and `<!-- end -->` in every Markdown page by the table in the
file PATH (relative to the page), without its caption line. A test checks that the pages are up to date.
"""

import re
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
BLOCK = re.compile(r"(<!-- table: (\S+) -->\n).*?(<!-- end -->)", re.DOTALL)


def filled(page: Path) -> str:
    """The text of `page` with every quoted table as its file has it now."""

    def table(match: re.Match[str]) -> str:
        lines = (page.parent / match[2]).read_text().splitlines()
        rows = "\n".join(line for line in lines if line.startswith("|"))
        return f"{match[1]}\n{rows}\n\n{match[3]}"

    return BLOCK.sub(table, page.read_text())


def pages() -> list[Path]:
    folders = (ROOT / "docs", ROOT / "results")
    return [page for folder in folders for page in folder.rglob("*.md") if BLOCK.search(page.read_text())]


if __name__ == "__main__":
    for page in pages():
        page.write_text(filled(page))
        print(page.relative_to(ROOT))
