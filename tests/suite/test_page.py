"""The page, in a real browser: seen, searched, used by keyboard, and fed hostile text."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Iterator

import pytest
from array_constraints_conformance.report import to_html, to_markdown
from sample_record import HOSTILE, MAX_NORM_MOVED, REQUIREMENTS, sample

webdriver = pytest.importorskip("selenium.webdriver", reason="selenium is not installed")
from browser import Page, contrast, luminance, numbers, words  # noqa: E402
from selenium.webdriver.chrome.service import Service  # noqa: E402
from selenium.webdriver.common.by import By  # noqa: E402
from selenium.webdriver.common.keys import Keys  # noqa: E402
from selenium.webdriver.support.ui import Select, WebDriverWait  # noqa: E402

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")
DRIVER = shutil.which("chromedriver")
pytestmark = pytest.mark.skipif(
    not (CHROMIUM and DRIVER), reason="chromium and chromedriver are not both on the path"
)

ARGUMENTS = [
    "--headless=new",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]


@pytest.fixture(scope="module")
def driver(tmp_path_factory) -> Iterator:
    options = webdriver.ChromeOptions()
    options.binary_location = CHROMIUM
    for argument in (*ARGUMENTS, f"--user-data-dir={tmp_path_factory.mktemp('profile')}"):
        options.add_argument(argument)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL", "performance": "ALL"})
    driver = webdriver.Chrome(options=options, service=Service(executable_path=DRIVER))
    driver.get("about:blank")  # away from the page of a new tab, which fetches its own parts
    yield driver
    driver.quit()


@pytest.fixture
def show(driver, tmp_path) -> Iterator[Callable[[dict], Page]]:
    """Open records as pages; afterwards nothing was on the console, and nothing was fetched."""
    for log in ("browser", "performance"):
        driver.get_log(log)

    def show(record: dict) -> Page:
        path = tmp_path / "report.html"
        path.write_text(to_html(record), encoding="utf-8")
        page = Page(driver, path.as_uri())
        page.media(color_scheme="light")
        page.size(1280, 900)
        return page.open()

    yield show
    log = driver.get_log("performance")
    events = [json.loads(entry["message"])["message"] for entry in log]
    sent = [e["params"] for e in events if e["method"] == "Network.requestWillBeSent"]
    assert sent
    addresses = {each["request"]["url"].partition("#")[0] for each in sent}
    assert addresses <= {(tmp_path / "report.html").as_uri(), "about:blank", "data:,"}
    assert driver.get_log("browser") == []


@pytest.fixture
def page(show) -> Page:
    return show(sample())


def test_contrast_is_computed_as_by_wcag():
    assert contrast("rgb(0, 0, 0)", ["rgba(0, 0, 0, 0)", "rgb(255, 255, 255)"]) == 21
    assert round(contrast("rgb(119, 119, 119)", ["rgb(255, 255, 255)"]), 2) == 4.48


class TestTheMatrix:
    def test_has_the_cells_of_the_markdown_table(self, page):
        table = to_markdown(sample()).partition("## Requirements")[2]
        rows = [line[2:-2].split(" | ") for line in table.splitlines() if line.startswith("| ")]
        (heads, _, *expected) = rows
        assert [e.text for e in page.all("thead .name")] == heads[2:]
        shown = [
            [words(cell) for cell in row.find_elements(By.TAG_NAME, "td")]
            for row in page.all("tr:not(.scope)")[1:]
        ]
        assert shown == [row[2:] for row in expected]
        assert page.rows() == list(REQUIREMENTS)

    def test_is_a_table_with_headings_also_as_cards(self, page):
        for width in (1280, 360):
            page.size(width, 800)
            roles = {
                selector: {e.aria_role for e in page.all(selector) if e.is_displayed()}
                for selector in ("table", "tr", "th[scope=row]", "td", ".cell")
            }
            assert roles == {
                "table": {"table"},
                "tr": {"row"},
                "th[scope=row]": {"rowheader"},
                "td": {"cell"},
                ".cell": {"button"},
            }
        assert [each.get_attribute("scope") for each in page.all("thead th")] == ["col"] * 5

    def test_names_each_cell_for_those_who_hear_it(self, page):
        name = " ".join(page.cell("SET-2", "numpy").accessible_name.split())
        assert name == "SET-2 on numpy: not met 1 of 3"

    def test_stands_under_the_facts_and_the_verdicts(self, page):
        assert page.one("h1").text == page.driver.title.removeprefix("Conformance of ")
        facts = page.one("header .facts").text
        for fact in ("0.1.0", "quick, seed 0", "10:00:00 UTC", sample()["command"]):
            assert fact in facts
        verdicts = [" ".join(each.text.split()) for each in page.all("#verdicts li")]
        assert verdicts[0].startswith("map ✗ not met 3 not met, 1 gap closed,")
        assert verdicts[0].endswith("Any callable is judged as a map.")
        assert verdicts[1] == "Keras API ✓ met 20 met It has get."
        assert verdicts[2] == "this API not judged It has no `violation`."

    def test_stays_in_its_place_while_it_scrolls(self, show):
        record = sample()
        record["libraries"] *= 6
        record["requirements"] *= 6
        page = show(record)
        corner = page.one("thead th:first-child")
        before = corner.rect
        page.run("document.getElementById('matrix').scrollTo(900, 900)")
        assert page.run("return document.getElementById('matrix').scrollLeft") > 0
        assert corner.rect == before
        end = "return document.querySelector('main').getBoundingClientRect().bottom"
        height = page.run("return document.documentElement.scrollHeight")
        assert height < page.run(end) + page.run("return scrollY") + 200  # nothing blank below

    def test_tells_for_each_library_how_many_are_not_met(self, page):
        told = page.one("thead th:nth-child(2)").text.split("\n")[-1]
        own = [r for r in sample()["results"] if r["library"] == "numpy"]
        judged = [r for r in own if r["outcome"] not in ("not applicable", "not provided")]
        assert (len([r for r in judged if r["outcome"] == "not met"]), len(judged)) == (2, 19)
        assert told == "2 of 19 not met"


class TestTheFilters:
    def test_start_with_everything(self, page):
        assert page.shown() == "7 of 7 requirements shown."
        assert page.one("#shown").get_attribute("aria-live") == "polite"
        counts = [int(each.text) for each in page.all(".chip .total")]
        assert counts == [3, 1, 1, 2, 69, 16, 8]

    def test_by_outcome_keep_rows_with_any_of_them(self, page):
        page.chip("untested").click()
        assert page.rows() == ["SET-2"]
        page.chip("known gap").click()
        assert page.rows() == ["SET-1", "SET-2"]
        assert page.chip("known gap").get_attribute("aria-pressed") == "true"
        page.chip("untested").click()
        assert page.rows() == ["SET-1"]
        assert page.shown() == "1 of 7 requirements shown."

    def test_by_scope(self, page):
        Select(page.one("#scope-filter")).select_by_visible_text("Keras API")
        assert page.rows() == ["KER-1", "KER-2"]
        headings = [each.text for each in page.all(".scope") if each.is_displayed()]
        assert headings == ["Scope: Keras API"]

    def test_by_constraint_judge_by_that_one_alone(self, page):
        choice = Select(page.one("#constraint-filter"))
        choice.select_by_visible_text("UnitNorm")
        assert words(page.cell("SET-2", "numpy")) == "✓ met"
        assert words(page.cell("SET-2", "torch")) == "▲ gap closed"
        page.cell("SET-2", "torch").click()
        assert [each.text.split()[0] for each in page.all(".result h3")] == ["UnitNorm"]
        page.press(Keys.ESCAPE)
        choice.select_by_visible_text("module")
        assert page.rows() == ["KER-1"]

    @pytest.mark.parametrize(
        ("words", "rows"),
        [
            ("set-", ["SET-1", "SET-2", "SET-3"]),
            ("ZERO should", ["SET-3"]),
            ("subnormal", ["SET-1"]),
            ("entries moved", ["SET-2"]),
        ],
    )
    def test_by_words_in_any_of_the_texts(self, page, words, rows):
        page.one("#text-filter").send_keys(words)
        assert page.rows() == rows

    def test_say_when_nothing_is_left_and_can_be_cleared(self, page):
        page.chip("untested").click()
        page.one("#text-filter").send_keys("nothing like this")
        assert page.shown() == "0 of 7 requirements shown."
        page.one("#clear").click()
        assert page.rows() == list(REQUIREMENTS)
        assert page.chip("untested").get_attribute("aria-pressed") == "false"
        assert page.one("#text-filter").get_attribute("value") == ""


class TestTheDetails:
    def test_tell_a_counterexample(self, page):
        page.cell("SET-2", "numpy").click()
        assert page.one("#details-title").text == "Interior points do not move"
        assert page.one("#details").accessible_name.startswith("SET-2 on numpy")
        first, *others = page.all(".result")
        for key in ("constraint", "dtype", "input", "expected", "got"):
            value = first.find_element(By.CSS_SELECTOR, f".found .{key} pre")
            assert value.get_property("textContent") == MAX_NORM_MOVED[key]
        assert MAX_NORM_MOVED["message"] in first.text
        assert "Put to the test 100 times, in 0.25 s." in first.text
        outcomes = [each.find_element(By.CSS_SELECTOR, ".badge").text for each in others]
        assert [each.split("\n")[-1] for each in outcomes] == ["met", "met", "not applicable"]
        assert "Not a norm constraint." in others[-1].text

    def test_copy_the_line_that_reproduces_it(self, page):
        page.cell("SET-2", "numpy").click()
        page.one(".copy").click()
        WebDriverWait(page.driver, 10).until(lambda _: page.one(".copy").text == "Copied")
        assert page.one("#copied").get_property("textContent") == "The line is copied."
        page.press(Keys.ESCAPE)
        page.one("#text-filter").send_keys(Keys.CONTROL, "v")
        assert page.one("#text-filter").get_attribute("value") == MAX_NORM_MOVED["reproduce"]

    def test_set_the_mathematics_of_a_law_and_show_what_they_cannot_set(self, page):
        page.cell("SET-1", "numpy").click()
        root, fraction = page.all(".law math")
        assert root.get_property("textContent") == "‖P(w)‖2≤c(1+12u)"
        assert fraction.find_elements(By.TAG_NAME, "mfrac")
        page.press(Keys.ESCAPE)
        page.cell("KER-2", "numpy").click()
        items = [each.text for each in page.all(".law li")]
        assert items == ["in value,", r"in \unknown{dtype}."]

    @pytest.mark.parametrize("way", ["close", "escape", "backdrop"])
    def test_close_and_give_the_focus_back(self, page, way):
        cell = page.cell("SET-3", "torch")
        cell.click()
        assert page.dialog_is_open()
        if way == "close":
            page.one("#close").click()
        elif way == "escape":
            page.press(Keys.ESCAPE)
        else:
            mouse = webdriver.ActionChains(page.driver)
            mouse.move_by_offset(20, 300).click().perform()
        assert not page.dialog_is_open()
        assert page.driver.switch_to.active_element == cell


class TestTheKeyboard:
    def reach_the_matrix(self, page) -> None:
        page.one("#clear").send_keys(Keys.TAB)
        while "MAP-1 on" not in page.focused():
            page.press(Keys.TAB)

    def test_skips_to_the_matrix_first(self, page):
        page.press(Keys.TAB)
        assert page.focused() == "Skip to the matrix"
        page.press(Keys.ENTER)
        assert page.run("return document.activeElement.id") == "matrix"

    def test_reaches_one_cell_by_tab_and_the_others_by_arrows(self, page):
        self.reach_the_matrix(page)
        assert len(page.all(".cell[tabindex='0']")) == 1
        moves = [
            (Keys.ARROW_RIGHT, "MAP-1 on torch"),
            (Keys.ARROW_DOWN, "SET-1 on torch"),
            (Keys.END, "SET-1 on private"),
            (Keys.ARROW_RIGHT, "SET-1 on private"),
            (Keys.ARROW_UP, "MAP-1 on private"),
            (Keys.ARROW_UP, "MAP-1 on private"),
            (Keys.HOME, "MAP-1 on numpy"),
            (Keys.CONTROL + Keys.END, "OWN-1 on private"),
            (Keys.ARROW_LEFT, "OWN-1 on jax.numpy+x64+jit"),
            (Keys.CONTROL + Keys.HOME, "MAP-1 on numpy"),
        ]
        for key, cell in moves:
            page.press(key)
            assert page.focused().startswith(f"{cell}:")
        assert len(page.all(".cell[tabindex='0']")) == 1

    def test_passes_rows_that_are_hidden(self, page):
        page.chip("not met").click()
        page.cell("SET-2", "numpy").send_keys(Keys.ARROW_DOWN)
        assert page.focused().startswith("SET-3 on numpy")

    @pytest.mark.parametrize("key", [Keys.ENTER, Keys.SPACE])
    def test_opens_closes_and_returns(self, page, key):
        self.reach_the_matrix(page)
        page.press(Keys.ARROW_DOWN, key)
        assert page.dialog_is_open()
        assert page.focused() == "Close"
        for _ in range(3):  # into the panel, and out to the browser's own bars, never behind it
            page.press(Keys.TAB)
            active = page.run("return document.activeElement.closest('dialog, body > *')?.id")
            assert active in ("details", None)
        page.press(Keys.ESCAPE)
        assert page.focused().startswith("SET-1 on numpy")

    def test_shows_where_it_is(self, page):
        self.reach_the_matrix(page)
        outline = "const s = getComputedStyle(document.activeElement);"
        assert page.run(outline + "return s.outlineStyle + s.outlineWidth") == "solid2px"


class TestALink:
    def test_leads_to_its_row(self, page):
        page.open("#OWN-1")
        assert page.one("tr.target").text.startswith("OWN-1")
        assert page.focused() == "OWN-1"
        visible = "const b = document.querySelector('tr.target').getBoundingClientRect();"
        assert page.run(visible + "return b.top >= 0 && b.bottom <= innerHeight")

    def test_leads_past_the_filters(self, page):
        page.chip("untested").click()
        page.run("location.hash = 'KER-1'")
        WebDriverWait(page.driver, 10).until(lambda _: page.focused() == "KER-1")
        assert page.rows() == list(REQUIREMENTS)

    def test_that_leads_nowhere_does_nothing(self, page):
        for fragment in ("#nowhere", "#%", "#%3Cb%3E"):
            page.open(fragment)
            assert not page.all(".target")


class TestHostileText:
    @pytest.fixture
    def page(self, show) -> Page:
        record = sample()
        for thing in (record["suite"], record["subject"], *record["libraries"]):
            thing.update(name=thing["name"] + HOSTILE, version=HOSTILE)
        for requirement in record["requirements"]:
            requirement.update(title=HOSTILE, law=f"{HOSTILE} ${HOSTILE}$", constraints=HOSTILE)
            requirement["id"] += HOSTILE
        for result in record["results"]:
            result.update(reason=HOSTILE, constraint=HOSTILE)
            result["requirement"] += HOSTILE
            result["library"] += HOSTILE
        return show(record)

    def test_is_shown_as_text(self, page):
        plain = HOSTILE.replace("`", "")  # in prose, backticks make code
        assert page.one("h1").get_property("textContent").count(HOSTILE) == 2
        assert page.all(".title")[0].get_property("textContent") == plain
        page.all(".cell.not-met")[0].click()
        assert page.one("#details-title").get_property("textContent") == plain
        assert page.all(".reason")[0].get_property("textContent") == plain
        assert HOSTILE in page.one("#details-place").get_property("textContent")

    def test_makes_no_elements(self, page):
        page.all(".cell.not-met")[0].click()
        assert page.all("img") == []
        assert len(page.run("return [...document.scripts]")) == 4

    def test_overflows_nothing(self, page):
        page.size(360, 740)
        assert page.run("return document.documentElement.scrollWidth") == 360


class TestEveryReader:
    def test_can_read_it_on_a_phone(self, page):
        page.size(360, 740)
        page.open()
        assert page.run("return document.documentElement.scrollWidth") == 360
        cell = page.cell("SET-2", "numpy")
        assert words(cell) == "numpy ✗ not met 1 of 3"
        assert cell.size["height"] >= 44
        cell.click()
        body = "const s = document.querySelector('.sheet');"
        assert page.run(body + "return s.scrollWidth - s.clientWidth") == 0

    @pytest.mark.parametrize("width", [1400, 420])
    def test_reads_words_that_stand_beside_their_neighbours(self, page, width):
        page.size(width, 900)
        page.run("document.querySelector('.legend').open = true")
        gaps = page.gaps("p:not(.shown), .shown > span, li .counts, dd, dt, summary, .title")
        page.cell("SET-2", "numpy").click()
        gaps += page.gaps("dialog p, dialog dd, dialog dt")
        beside = [gap for *_, gap, _ in gaps if gap is not None]
        assert len(beside) > 300
        assert [each for each in gaps if each[2] is not None and not -0.5 < each[2] < 2.5] == []
        assert [each for each in gaps if each[2] is None and each[3] <= 0] == []

    @pytest.mark.parametrize("width", [1280, 360])
    @pytest.mark.parametrize("scheme", ["light", "dark"])
    def test_has_contrast(self, page, scheme, width):
        page.size(width, 900)
        page.media(color_scheme=scheme)
        page.run("document.querySelector('.legend').open = true")
        seen = page.texts()
        page.chip("not met").click()  # other cells step aside
        seen += page.texts()
        page.cell("SET-2", "numpy").click()
        seen += page.texts()
        assert {"not met", "gap closed", "untested", "known gap"} < {text for text, *_ in seen}
        assert [each for each in seen if contrast(*each[1:]) < 4.5] == []

    def test_gets_the_colours_they_prefer(self, page):
        colours = {}
        for scheme in ("light", "dark"):
            page.media(color_scheme=scheme)
            colours[scheme] = page.one("body").value_of_css_property("background-color")
        light, dark = (luminance(numbers(each)) for each in colours.values())
        assert light > 0.8
        assert dark < 0.1

    def test_gets_the_motion_they_prefer(self, page):
        page.cell("SET-2", "numpy").click()
        names = {}
        for motion in ("reduce", "no-preference"):
            page.media(reduced_motion=motion)
            names[motion] = page.one("dialog").value_of_css_property("animation-name")
        assert names == {"reduce": "none", "no-preference": "enter"}

    def test_gets_each_outcome_as_a_word(self, page):
        for cell in page.all(".cell"):
            (outcome,) = set(cell.get_attribute("class").split()) - {"cell"}
            assert outcome.replace("-", " ") in words(cell)
