"""The pictures in the README, taken of the demonstration while it runs: `python -m tests.scenarios.pictures`.

Chromium shows the console and the example shop; the results are the invoice's page, the calendar and the thumbnail.
"""

import io
import shutil
import tempfile
import time
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import pypdfium2  # type: ignore[import-untyped]  # it has no types
from PIL import Image
from rich.console import Console

from tests import demo
from tests.support.browser import FLAGS

if TYPE_CHECKING:
    from selenium.webdriver.chrome.webdriver import WebDriver

FOLDER: Final = Path(__file__).parent / "pictures"
WIDTH_PX: Final = 1200
COLOURS: Final = 128  # a page's text and few colours need no more


def main() -> None:
    """Run the jobs, look at what is there, write the three files."""
    shutil.rmtree(demo.DATA, ignore_errors=True)
    FOLDER.mkdir(exist_ok=True)
    with ExitStack() as stack:
        mails = stack.enter_context(demo.mail_server())
        pictures = stack.enter_context(demo.picture_server())
        url = stack.enter_context(demo.errands(mails.port, knative=False))
        api: Any = stack.enter_context(demo.example_api(url))
        rows = demo.jobs(pictures.url)
        demo.run(api, rows, Console(quiet=True))
        browser = stack.enter_context(chromium())
        shot(browser, f"{url}/dead/letters/1", "console")
        shot(browser, f"{api.url}/", "shop")
        write(results([each for row in rows for each in (row.ended or {}).get("artifacts", [])]), "results")


def results(artifacts: list[dict[str, Any]]) -> Image.Image:
    """The invoice's first page beside the pictures that were made."""
    files = [demo.stored(each["url"]) for each in artifacts]
    page = pypdfium2.PdfDocument(next(each for each in files if each.suffix == ".pdf"))[0].render(scale=1.1).to_pil()
    shown = [Image.open(each) for each in files if each.suffix in (".jpg", ".webp")]
    sheet = Image.new("RGB", (WIDTH_PX, page.height + 40), "#e5e7eb")
    sheet.paste(page, (20, 20))
    top_px = 20
    for picture in shown:
        picture.thumbnail((WIDTH_PX - page.width - 60, page.height // 2))
        sheet.paste(picture.convert("RGB"), (page.width + 40, top_px))
        top_px += picture.height + 20
    return sheet


def shot(browser: "WebDriver", url: str, name: str) -> None:
    """What a person sees at an address."""
    browser.get(url)
    time.sleep(1)  # the shop asks for its jobs once it is there
    write(Image.open(io.BytesIO(browser.get_screenshot_as_png())), name)


def write(picture: Image.Image, name: str) -> None:
    """As a small PNG."""
    picture.thumbnail((WIDTH_PX, WIDTH_PX))
    picture.convert("RGB").quantize(COLOURS).save(FOLDER / f"{name}.png", optimize=True)


def chromium() -> Any:
    """Debian's Chromium, with a profile of its own, as a context."""
    from selenium import webdriver
    from selenium.webdriver.chrome.service import Service

    options = webdriver.ChromeOptions()
    options.binary_location = shutil.which("chromium") or "chromium"
    for flag in (*FLAGS, f"--user-data-dir={tempfile.mkdtemp()}", "--force-device-scale-factor=1"):
        options.add_argument(flag)
    return webdriver.Chrome(options=options, service=Service(shutil.which("chromedriver") or "chromedriver"))


if __name__ == "__main__":
    main()
