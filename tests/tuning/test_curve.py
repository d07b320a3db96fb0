import math
from xml.etree import ElementTree as ET

from millrace.tuning.curve import Point, bounds, render_csv, render_json, render_plot, render_svg, sparkline, thinned

POINTS = [
    Point(step=1, tokens=100, loss=4.0),
    Point(step=2, tokens=200, loss=2.0, held_out=3.0),
    Point(step=3, tokens=300, loss=1.0, held_out=2.5),
]


def test_csv_has_a_line_for_each_point() -> None:
    """Numbers under their names; nothing where nothing was held out."""
    assert render_csv(POINTS) == "step,tokens,loss,held_out\n1,100,4.0,\n2,200,2.0,3.0\n3,300,1.0,2.5\n"


def test_json_is_a_list_of_the_points() -> None:
    """The same numbers for programs."""
    assert render_json(POINTS[:1]) == b'[{"step":1,"tokens":100,"loss":4.0,"held_out":null}]'


def test_sparkline_falls_with_the_loss() -> None:
    """The highest bar for the largest value, one bar for each value or for the mean of neighbours."""
    assert sparkline([8, 4, 1]) == "█▄▁"
    assert sparkline([2, 2]) == "▁▁"
    assert sparkline([]) == ""
    assert sparkline([math.nan, 1, 3]) == "▁█"
    assert len(sparkline(list(range(1000)), 40)) == 40


def test_the_plot_shows_both_losses_and_the_ends_of_its_axes() -> None:
    """In a terminal: the first loss at the top left, the last at the bottom right."""
    lines = render_plot(POINTS, width=30, height=5).splitlines()
    assert len(lines) == 7
    assert lines[0].lstrip().startswith("4 │")
    assert "*" in lines[0]
    assert lines[4].rstrip().endswith("*")
    assert any("o" in line for line in lines[:4])
    assert lines[-1].endswith("300 tokens")
    assert render_plot([]) == "no step yet"


def test_the_picture_is_whole_xml_and_escapes_its_title() -> None:
    """A title is anybody's text, and two curves are two paths."""
    drawn = ET.fromstring(render_svg(POINTS, "<script>&"))  # noqa: S314 (our own text)
    paths = [each for each in drawn.iter() if each.tag.endswith("path")]
    assert len(paths) == 2
    assert "<script>" not in render_svg(POINTS, "<script>&")
    assert ET.fromstring(render_svg([])) is not None  # noqa: S314 (our own text)


def test_a_long_run_is_thinned_for_the_picture() -> None:
    """A picture of a hundred thousand steps stays small."""
    points = [Point(step=n, tokens=n * 10, loss=1 / n) for n in range(1, 20_000)]
    assert len(render_svg(points)) < 60_000


def test_thinning_keeps_means_and_bounds_are_never_the_same() -> None:
    """Each thinned value is the mean of its neighbours; a flat curve still has a height."""
    assert thinned([1, 3, 5, 7], 2) == [2, 6]
    assert thinned([1, 2], 5) == [1, 2]
    assert bounds([Point(step=1, tokens=1, loss=2.0)]) == (1.5, 2.5)
