"""Colours that the colour-blind tell apart, with a second set for dark pages; lines differ in dash as well."""

INK, GRID = "#24292f", "#d5dae0"
SERIES = ("#0067a5", "#c2410c", "#00755e", "#a3458f", "#8a6a00", "#5b5bd6", "#007f9e", "#7a4b2a")
DARK_INK, DARK_GRID = "#e6e9ed", "#3c444d"
DARK_SERIES = ("#5cb3ee", "#ff9a52", "#3fcfa6", "#e58fd0", "#e0c04a", "#a5a5ff", "#5fd4ee", "#d3a27c")
DASHES: tuple[tuple[float, ...], ...] = ((), (5, 1.6), (1.4, 1.4), (6, 1.5, 1.4, 1.5), (9, 2), (3, 1, 1, 1, 1, 1))
MARKERS = ("o", "s", "^", "D", "v", "P", "X", "*")


def variables() -> dict[str, str]:
    """The CSS variable that stands for each colour of the drawings inside the page."""
    names = {INK: "--ink", GRID: "--grid"}
    return names | {colour: f"--series-{place}" for place, colour in enumerate(SERIES)}
