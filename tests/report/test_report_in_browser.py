"""report.html in a real Chromium: nothing is requested, nothing goes wrong, and it fits a phone, in light and dark.

Needs Debian's package: apt-get install chromium
"""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from chromium import Browser, browser
from reported_runs import attacked_run, label_lines, write_evaluation, write_run

from llmkit.report.comparison import comparison_report
from llmkit.report.reading import read_content
from llmkit.report.run_report import run_report
from llmkit.runs.folder import Run

pytestmark = pytest.mark.slow

_A4_WIDTH = 718
"""Pixels between the margins of a printed page."""
_TOO_WIDE = """[...document.querySelectorAll('body *')].filter(element => !element.closest('.scroll, .hidden, svg')
  && element.getBoundingClientRect().right > innerWidth + 1).map(element => element.outerHTML.slice(0, 200))"""
_CONTRAST = """(() => {
  const rgb = text => text.match(/[\\d.]+/g).map(Number);
  const light = ([r, g, b]) => [r, g, b].map(c => c / 255).map(c => c <= .03928 ? c / 12.92 : ((c + .055) / 1.055) ** 2.4)
    .reduce((sum, c, index) => sum + c * [.2126, .7152, .0722][index], 0);
  const over = ([r, g, b, a = 1], below) => [r, g, b].map((c, index) => c * a + below[index] * (1 - a));
  const back = element => over(rgb(getComputedStyle(element).backgroundColor),
    element.parentElement ? back(element.parentElement) : [255, 255, 255]);
  const texts = [...document.querySelectorAll('body *')].filter(element => !element.closest('svg')
    && [...element.childNodes].some(node => node.nodeType === 3 && node.data.trim()));
  return texts.map(element => {
    const [a, b] = [light(rgb(getComputedStyle(element).color)), light(back(element))].sort((x, y) => y - x);
    return [(a + .05) / (b + .05), element.outerHTML.slice(0, 200)];
  }).filter(([ratio]) => ratio < 4.5);
})()"""


@pytest.fixture(scope="module")
def chromium(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Browser]:
    with browser(tmp_path_factory.mktemp("profile")) as started:
        yield started


@pytest.fixture(scope="module")
def pages(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """Addresses of a report whose every text attacks it, of one of numbers, and of a comparison."""
    folder = tmp_path_factory.mktemp("pages")
    attacked = read_content(Run(attacked_run(folder / "<script>alert(3)<" / "script> run")))
    numbers = write_run(folder / "numbers", model="bert-tiny")
    lines = [{"prediction": number * 1.5, "reference": number} for number in range(50)]
    write_evaluation(numbers, lines, scores={"mse": 2.5, "pearson": 0.5})
    other = write_run(folder / "other", status="failed", error="the loss is not finite")
    write_evaluation(other, label_lines(300), intervals={"accuracy": [0.66, 0.74]})
    written = {
        "attacked": run_report(attacked),
        "numbers": run_report(read_content(Run(numbers))),
        "comparison": comparison_report([attacked, read_content(Run(other))]),
    }
    for name, html in written.items():
        (folder / f"{name}.html").write_text(html, encoding="utf-8")
    return {name: (folder / f"{name}.html").as_uri() for name in written}


@pytest.mark.parametrize("name", ["attacked", "numbers", "comparison"])
def test_no_request_leaves_the_page_and_nothing_goes_wrong(name: str, chromium: Browser, pages: dict[str, str]) -> None:
    page = chromium.open(pages[name])
    assert page.requests == [pages[name]]
    assert page.problems == []
    assert page.value("document.scripts.length + document.images.length") == 0
    assert page.value("document.querySelectorAll('h1, h2').length") > 3


def test_the_policy_of_the_page_refuses_scripts_and_requests(chromium: Browser, pages: dict[str, str]) -> None:
    page = chromium.open(pages["attacked"])
    page.value(
        "document.body.insertAdjacentHTML('beforeend', '<img src=http://127.0.0.1:9/x.png><p onclick=alert(1)>x')"
    )
    page.value("document.querySelector('p[onclick]').click()")
    page.value("new Promise(resolve => setTimeout(resolve, 100))")
    problems = " ".join(str(problem) for problem in page.problems)
    assert "img-src" in problems
    assert not page.of("Page.javascriptDialogOpening")
    assert not [event for event in page.of("Network.responseReceived") if "127.0.0.1" in str(event)]


@pytest.mark.parametrize("name", ["attacked", "numbers", "comparison"])
@pytest.mark.parametrize("width", [360, 1000])
def test_no_page_is_wider_than_its_window(name: str, width: int, chromium: Browser, pages: dict[str, str]) -> None:
    page = chromium.open(pages[name], width=width)
    assert page.value("[innerWidth, document.documentElement.scrollWidth]") == [width, width]
    assert page.value(_TOO_WIDE) == []
    assert page.value("Math.min(...[...document.querySelectorAll('.plot')].map(plot => plot.clientWidth))") > 200


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_texts_have_contrast_in_light_and_dark(scheme: str, chromium: Browser, pages: dict[str, str]) -> None:
    page = chromium.open(pages["attacked"], scheme=scheme)
    colours = page.value("getComputedStyle(document.body).backgroundColor.match(/\\d+/g).map(Number)")
    assert max(colours) < 60 if scheme == "dark" else min(colours) > 230
    assert page.value(_CONTRAST) == []


@pytest.mark.parametrize("name", ["attacked", "numbers", "comparison"])
def test_a_printed_page_is_light_and_nothing_is_cut(name: str, chromium: Browser, pages: dict[str, str]) -> None:
    page = chromium.open(pages[name], width=_A4_WIDTH)
    scheme = {"name": "prefers-color-scheme", "value": "dark"}
    page.call("Emulation.setEmulatedMedia", media="print", features=[scheme])
    assert page.value("getComputedStyle(document.body).backgroundColor") == "rgb(255, 255, 255)"
    assert page.value(_TOO_WIDE.replace(".scroll, ", "")) == []
    assert page.value(_CONTRAST) == []
    assert page.value("[...document.querySelectorAll('section')].every(section => section.innerText.trim())")


def test_curves_and_dots_are_drawn_within_their_box(chromium: Browser, pages: dict[str, str]) -> None:
    page = chromium.open(pages["attacked"])
    charts = page.value("""[...document.querySelectorAll('.chart')].map(chart => {
      const box = chart.querySelector('svg').getBoundingClientRect();
      return [...chart.querySelectorAll('.line, .thin, .dots')].map(path => path.getBoundingClientRect()).every(curve =>
        curve.left >= box.left - 9 && curve.right <= box.right + 9 && curve.top >= box.top - 9 && curve.bottom <= box.bottom + 9);
    })""")
    assert len(charts) >= 6
    assert all(charts)


def test_arabic_is_read_from_right_to_left(chromium: Browser, pages: dict[str, str]) -> None:
    page = chromium.open(pages["attacked"])
    script = "[...document.querySelectorAll('dd[dir=auto]')].filter(text => text.textContent.startsWith('هذا'))"
    assert page.value(f"{script}.length") > 0
    assert page.value(f"{script}.every(text => getComputedStyle(text).direction === 'rtl')")
