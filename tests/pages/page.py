"""What a user does with Flower's pages: opens one, types into the search box, reads the cells."""

from __future__ import annotations

from selenium import webdriver
from selenium.webdriver.common.by import By
from selenium.webdriver.common.keys import Keys
from selenium.webdriver.remote.webelement import WebElement

from tests.fix_flower import Flower
from tests.support import until

_ROWS = """
    const heads = [...document.querySelectorAll('#tasks-table thead th')].map(th => th.dataset.column);
    return [...document.querySelectorAll('#tasks-table tbody tr')].map(tr => {
        const cells = [...tr.children].map(td => td.textContent.trim());
        return Object.fromEntries([['id', tr.id], ...heads.map((head, i) => [head, cells[i]])]);
    });
"""
_QUIET = """
    return window.jQuery !== undefined && jQuery.active === 0
        && jQuery.fn.dataTable.isDataTable('#tasks-table') && document.querySelector('#tasks-table tbody tr') !== null;
"""


class TasksPage:
    """The list of tasks in a browser."""

    def __init__(self, browser: webdriver.Chrome, flower: Flower) -> None:
        self.browser = browser
        self._flower = flower

    def open(self, query: str = "") -> TasksPage:
        self.browser.get(f"{self._flower.url}/tasks{query}")
        self._settled()
        return self

    def _settled(self) -> None:
        until(lambda: bool(self.browser.execute_script(_QUIET)), "the table is filled")

    @property
    def box(self) -> WebElement:
        return self.browser.find_element(By.CSS_SELECTOR, "#tasks-table_filter input")

    def rows(self) -> list[dict[str, str]]:
        """The cells of each row by column."""
        found: list[dict[str, str]] = self.browser.execute_script(_ROWS)
        return [row for row in found if row["id"]]

    def ids(self) -> list[str]:
        return [row["id"] for row in self.rows()]

    def search(self, text: str) -> list[str]:
        """Type into the box; the ids of the jobs that are found."""
        before = self._draws()
        self.box.send_keys(Keys.CONTROL + "a", Keys.BACKSPACE)
        self.box.send_keys(text, Keys.ENTER)
        until(lambda: self._draws() > before and self._searched() == text, f"{text} was searched")
        self._settled()
        return self.ids()

    def _searched(self) -> str:
        return str(self.browser.execute_script("return jQuery('#tasks-table').DataTable().ajax.params().search.value"))

    def _draws(self) -> int:
        read = "const json = jQuery('#tasks-table').DataTable().ajax.json(); return json ? json.draw : 0"
        return int(self.browser.execute_script(read))

    def sort(self, column: str) -> list[str]:
        """Click on a column's head; its cells after that."""
        before = self._draws()
        heads = self.browser.find_elements(By.CSS_SELECTOR, f"th[data-column={column}]")
        next(head for head in heads if head.is_displayed()).click()
        until(lambda: self._draws() > before, f"it was sorted by {column}")
        self._settled()
        return [row[column] for row in self.rows()]

    def text(self, selector: str) -> str:
        """As it is written, not as a style sheet shows it."""
        found = self.browser.find_element(By.CSS_SELECTOR, selector).get_attribute("textContent") or ""
        return " ".join(found.split())


def facts(browser: webdriver.Chrome, selector: str) -> dict[str, str]:
    """A list of names and values on the page."""
    read = """
        return Object.fromEntries([...document.querySelectorAll(arguments[0] + ' .detail-row')].map(
            row => [row.querySelector('dt').textContent.trim(), row.querySelector('dd').textContent.trim()]));
    """
    found: dict[str, str] = browser.execute_script(read, selector)
    return found
