"""From records to a page: read, arrange, draw, write."""

from collections.abc import Callable, Sequence
from pathlib import Path

from gambeson.errors import UserError
from gambeson.reports.charts import Chart
from gambeson.reports.exhibits import Exhibit, Section
from gambeson.reports.page import Shown, page
from gambeson.reports.read import read
from gambeson.reports.sections.attacked import attacked
from gambeson.reports.sections.bounds import bounds
from gambeson.reports.sections.certified import certified
from gambeson.reports.sections.checks import checks
from gambeson.reports.sections.cost import cost
from gambeson.reports.sections.diagnosed import diagnosed
from gambeson.reports.sections.distortion import distortion
from gambeson.reports.sections.gallery import gallery
from gambeson.reports.sections.losses import losses
from gambeson.reports.sections.objectives import objectives
from gambeson.reports.sections.overview import overview
from gambeson.reports.sections.pairs import pairs
from gambeson.reports.sections.provenance import provenance
from gambeson.reports.sections.published import published
from gambeson.reports.sections.reading import reading
from gambeson.reports.sections.reductions import reductions
from gambeson.reports.sections.two_by_two import two_by_two
from gambeson.reports.series import Source
from gambeson.reports.summary import summary
from gambeson.reports.writers import to_csv, to_latex, to_markdown

WRITTEN = {"figures": ("svg", "png", "pdf"), "tables": ("csv", "md", "tex")}
SECTIONS: tuple[Callable[[Sequence[Source]], Section | None], ...] = (
    *(
        overview,
        certified,
        reductions,
        two_by_two,
        attacked,
        distortion,
        losses,
        objectives,
        gallery,
        pairs,
        checks,
        diagnosed,
        cost,
        bounds,
        published,
    ),
    *(reading, provenance),
)


def report(sources: Sequence[Path], out: Path) -> Path:
    """Write one self-contained page about `sources`, with every figure and table as a file beside it.

    Args:
        sources: run folders, or per-image logs in the field's format (idx, label, predict, radius, correct, time,
            tab-separated, -1 = abstain), alone or together.
        out: the folder to write; made if it is not there. Figures and tables of an earlier report in it go.

    Returns: the path of out/index.html. Beside it: summary.json, figures/STEM.{svg,png,pdf}, tables/STEM.{csv,md,tex}
    (numbers of the figure of the same stem), tables/STEM-steps.csv (every corner of a curve).

    Raises: UserError for a source that is neither run nor log, and for a broken record, named by file and line.

    >>> report([], Path("/nowhere"))
    Traceback (most recent call last):
    gambeson.errors.UserError: nothing to report on; name at least one run folder or per-image log
    """
    loaded = read([Path(source) for source in sources])
    if not any(source.clean or source.certified or source.attacked or source.diagnosed for source in loaded):
        where = loaded[0].path
        raise UserError(f"{where} holds no records yet; run `gambeson certify` or `gambeson attack` on it first")
    sections = [section for build in SECTIONS if (section := build(loaded)) is not None]
    _distinct(sections)
    out = Path(out)
    _clear(out)
    shown = [(section, [write(exhibit, out) for exhibit in section.exhibits]) for section in sections]
    (out / "summary.json").write_text(summary(loaded).model_dump_json(indent=1) + "\n")
    (out / "index.html").write_text(page(shown, loaded))
    return out / "index.html"


def _clear(out: Path) -> None:
    """Figures and tables of an earlier report are not this one's."""
    if not (out / "summary.json").exists():
        return
    for folder, kinds in WRITTEN.items():
        for file in (out / folder).glob("*.*"):
            if file.suffix[1:] in kinds:
                file.unlink()


def write(exhibit: Exhibit, out: Path) -> Shown:
    """An exhibit's tables and its figure, as files under `out`."""
    tables = out / "tables"
    tables.mkdir(parents=True, exist_ok=True)
    (tables / f"{exhibit.stem}.csv").write_text(to_csv(exhibit.table))
    (tables / f"{exhibit.stem}.md").write_text(to_markdown(exhibit.table, exhibit.caption))
    (tables / f"{exhibit.stem}.tex").write_text(to_latex(exhibit.table, exhibit.caption, exhibit.stem))
    if exhibit.steps is not None:
        (tables / f"{exhibit.stem}-steps.csv").write_text(to_csv(exhibit.steps))
    if exhibit.drawn is None:
        return Shown(exhibit, None)
    from gambeson.reports.drawing import draw_chart, draw_gallery, save  # matplotlib, only where something is drawn

    figure = draw_chart(exhibit.drawn) if isinstance(exhibit.drawn, Chart) else draw_gallery(exhibit.drawn)
    return Shown(exhibit, save(figure, exhibit.stem, out / "figures"))


def _distinct(sections: Sequence[Section]) -> None:
    stems = [exhibit.stem for section in sections for exhibit in section.exhibits]
    doubled = {stem for stem in stems if stems.count(stem) > 1}
    if doubled:
        raise UserError(f"two exhibits would be written to {doubled.pop()}.*; rename one of the sources")
