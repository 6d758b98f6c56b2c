"""What people look at, looked at by Chromium: the page of demo-server, and report.html, on a desk and on a phone."""

import json
import shutil
import socket
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import soundfile

from tests.conftest import ROOT

Keys = pytest.importorskip("selenium.webdriver.common.keys", reason="selenium is not installed").Keys

CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
DRIVER = shutil.which("chromedriver")
FLAGS = (
    "--headless=new",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--disable-dev-shm-usage",  # small in containers
    "about:blank",
)
PHONE, DESK = (390, 844), (1280, 900)
PATIENCE = 60  # seconds, for a machine with other work

pytestmark = [
    pytest.mark.skipif(
        not (CHROMIUM and DRIVER), reason="no Chromium with its driver here: apt-get install chromium chromium-driver"
    ),
    pytest.mark.xdist_group("browser"),  # one browser and one server for all
]


@pytest.fixture(scope="module")
def browser(tmp_path_factory):
    from selenium import webdriver

    options = webdriver.ChromeOptions()
    options.binary_location = CHROMIUM
    for flag in (*FLAGS, f"--user-data-dir={tmp_path_factory.mktemp('chromium')}"):
        options.add_argument(flag)
    options.set_capability("goog:loggingPrefs", {"performance": "ALL"})
    usual = socket.getdefaulttimeout()
    socket.setdefaulttimeout(3 * PATIENCE)  # which the driver's connection keeps; otherwise it waits for ever
    try:
        driver = webdriver.Chrome(options, webdriver.ChromeService(DRIVER))
    finally:
        socket.setdefaulttimeout(usual)
    driver.set_script_timeout(PATIENCE)
    yield driver
    driver.quit()


@pytest.fixture(scope="module")
def server(pair):
    """The address of `whisper-pair demo-server`, as its user starts it."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    command = ["-m", "whisper_pair.cli", "demo-server", pair[0].parent, "--port", port, "--device", "cpu"]
    process = subprocess.Popen([sys.executable, *map(str, command)], cwd=ROOT, stdout=subprocess.PIPE, text=True)
    message = process.stdout.readline()
    assert message.startswith(f"http://127.0.0.1:{port}/ shows ")
    yield message.split()[0]
    process.terminate()
    assert process.wait(PATIENCE) == 0


def until(true):
    """What `true()` says once it says something."""
    end = time.monotonic() + PATIENCE
    while not (found := true()):
        assert time.monotonic() < end, "nothing came"
        time.sleep(0.1)
    return found


def resize(browser, size: tuple[int, int]) -> None:
    """The screen of a phone or of a desk. (A window is no narrower than 500 pixels.)"""
    metrics = {"width": size[0], "height": size[1], "deviceScaleFactor": 1, "mobile": size == PHONE}
    browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", metrics)


def asked_elsewhere(browser, page: str) -> list[str]:
    """Addresses outside it that the page has asked for; the icon of the page before is the browser's own wish."""
    entries = (json.loads(entry["message"])["message"] for entry in browser.get_log("performance"))
    requests = [entry["params"] for entry in entries if entry["method"] == "Network.requestWillBeSent"]
    urls = [one["request"]["url"] for one in requests if one["documentURL"].startswith(page)]
    own = (page, "data:", "blob:")
    return [url for url in urls if not url.startswith(own) and not url.endswith("/favicon.ico")]


def overflows(browser) -> bool:
    return browser.execute_script("return document.documentElement.scrollWidth > innerWidth")


# The page of demo-server


def shown(browser, selector: str) -> list[str]:
    return browser.execute_script(
        "return [...document.querySelectorAll('#shown ' + arguments[0])].map((e) => e.textContent)", selector
    )


def transcribe(browser, server: str, file: Path | None, drafts: str = "4") -> None:
    """Open the page, give it a file and press the button; window.seen gathers what the sides showed meanwhile."""
    browser.get(server)
    until(lambda: browser.find_elements("id", "start"))
    if file is not None:
        browser.execute_script("document.querySelector('[aria-label=\"Upload file\"]').click()")
        until(lambda: browser.find_elements("css selector", "input[type=file]"))[0].send_keys(str(file))
        until(lambda: not browser.find_elements("css selector", "input[type=file]"))  # a player took its place
    choice = browser.find_element("css selector", "[aria-label='Draft tokens per round']")
    choice.click()
    choice.send_keys(Keys.CONTROL, "a", Keys.NULL, drafts, Keys.ENTER)
    assert choice.get_attribute("value") == drafts
    browser.execute_script(
        "window.seen = []; new MutationObserver(() => seen.push([...document.querySelectorAll('#shown .side')].map("
        "(side) => [side.querySelectorAll('.transcript > *').length, side.querySelector('.clock').textContent])))"
        ".observe(document.getElementById('shown'), {childList: true, subtree: true, characterData: true})"
    )
    browser.find_element("id", "start").click()


def tokens(browser, side: str) -> dict[str, list[tuple[str, tuple[str, str]]]]:
    """By the way they came: (text, (background, line through it))."""
    found = browser.execute_script(
        "return [...document.querySelectorAll(`#shown .${arguments[0]} .transcript > *`)].map((e) => {"
        " const style = getComputedStyle(e);"
        " return [e.classList[0], e.textContent, style.backgroundColor, style.textDecorationLine]})",
        side,
    )
    return {
        way: [(text, (ground, line)) for its, text, ground, line in found if its == way]
        for way in ("own", "accepted", "rejected")
    }


def test_both_sides_fill_with_coloured_tokens_and_their_identity_is_shown(browser, server, demo_data):
    resize(browser, DESK)
    transcribe(browser, server, min((demo_data / "test").glob("*.wav")))
    verdict = until(lambda: shown(browser, ".same, .different, .sentence[role=alert]"))[0]
    main, pair = tokens(browser, "main"), tokens(browser, "pair")
    assert verdict.startswith(f"Identical text: all {len(main['own'])} token ids are the same.")
    assert not main["accepted"] + main["rejected"]
    assert len(pair["own"] + pair["accepted"]) == len(main["own"])
    assert shown(browser, ".main .transcript > :not(del)") == shown(browser, ".pair .transcript > :not(del)")
    looks = [{look for _, look in some} for some in pair.values()]
    assert [len(some) for some in looks] == [1, 1, 1]
    assert len(set.union(*looks)) == 3
    assert {line for _, (_, line) in pair["rejected"]} == {"line-through"}
    assert [part.split()[0] for part in shown(browser, ".parts span")] == ["encoder", "tokens"] * 2
    assert min(float(clock.removesuffix(" s")) for clock in shown(browser, ".clock")) > 0
    seen = [sides for sides in browser.execute_script("return window.seen") if sides]
    assert len({clock for (_, clock), _ in seen}) >= 2  # it was seen running
    assert all(message == len(main["own"]) for (message, _), (its, _) in seen if its)  # one after the other
    for size in (DESK, PHONE):
        resize(browser, size)
        assert not overflows(browser)
    assert asked_elsewhere(browser, server) == []


@pytest.mark.parametrize(
    ("name", "message"),
    [
        (None, "Record something or choose a file, then press Transcribe."),
        ("silent.wav", "silent.wav: holds nothing but silence; check the microphone, or choose another file."),
        ("broken.wav", "broken.wav: cannot be decoded as audio."),
    ],
)
def test_a_mistake_is_one_sentence_on_the_page(browser, server, tmp_path, name, message):
    soundfile.write(tmp_path / "silent.wav", np.zeros(16_000), 16_000)
    (tmp_path / "broken.wav").write_bytes(b"no sound")
    transcribe(browser, server, name and tmp_path / name)
    assert until(lambda: shown(browser, ".sentence[role=alert]")) == [message]


# report.html


def dark(browser, on: bool) -> None:
    features = [{"name": "prefers-color-scheme", "value": "dark" if on else "light"}]
    browser.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": features})


def contrast(browser, selectors: list[str]) -> float:
    """The least ratio of luminances (WCAG 2) of text over the ground that it is on."""
    return browser.execute_script(
        "const light = (css) => { const [r, g, b] = css.match(/[\\d.]+/g).map((v) => { const c = v / 255;"
        " return c <= 0.04045 ? c / 12.92 : ((c + 0.055) / 1.055) ** 2.4; });"
        " return 0.2126 * r + 0.7152 * g + 0.0722 * b; };"
        "const ground = (e) => { for (; e; e = e.parentElement) { const css = getComputedStyle(e).backgroundColor;"
        " if (!css.startsWith('rgba') || !css.endsWith(' 0)')) return css; } return 'rgb(255, 255, 255)'; };"
        "return Math.min(...[...document.querySelectorAll(arguments[0])].map((e) => {"
        " const [a, b] = [light(getComputedStyle(e).color), light(ground(e))];"
        " return (Math.max(a, b) + 0.05) / (Math.min(a, b) + 0.05); }))",
        ", ".join(selectors),
    )


def test_the_page_of_demo_server_is_legible_by_day_and_by_night(browser, server):
    for on in (False, True):
        dark(browser, on)
        browser.get(server)
        until(lambda: browser.find_elements("css selector", ".head h1"))
        assert contrast(browser, [".head h1", ".head p", "#shown p"]) >= 4.5
    dark(browser, False)


def test_the_report_is_legible_by_day_and_by_night(browser, judged):
    for on in (False, True):
        dark(browser, on)
        browser.get((judged / "eval" / "report.html").as_uri())
        assert (
            contrast(browser, ["h1", ".headline", "dt", "dd", "td", "th", "a", "p", ".round span", "svg text"]) >= 4.5
        )
    dark(browser, False)


@pytest.mark.parametrize("size", [DESK, PHONE], ids=["desk", "phone"])
def test_the_report_can_be_read_played_and_sorted_without_a_network(browser, judged, size):
    resize(browser, size)
    address = (judged / "eval" / "report.html").as_uri()
    browser.get(address)
    assert not overflows(browser)
    pictures = browser.execute_script(
        "return [...document.querySelectorAll('figure > svg, figure > img')].map((e) => {"
        " const box = e.getBoundingClientRect();"
        " return [box.width, box.height, e.tagName === 'IMG' ? e.naturalWidth : e.querySelectorAll('path').length]})"
    )
    assert len(pictures) >= 5
    assert all(min(picture) > 0 for picture in pictures)
    sounds = browser.execute_script("return [...document.querySelectorAll('audio')].map((e) => e.src.slice(0, 16))")
    assert len(sounds) >= 5
    assert set(sounds) == {"data:audio/flac;"}
    browser.find_element("tag name", "h1").click()  # a page that nobody has touched may make no sound
    played = browser.execute_async_script(
        "const [done] = arguments, sound = document.querySelector('#utterances audio');"
        "sound.addEventListener('ended', () => done([sound.duration, sound.currentTime]));"
        "sound.addEventListener('error', () => done(sound.error.message));"
        "sound.playbackRate = 4; sound.play().catch((error) => done(error.message))"
    )
    assert isinstance(played, list), played
    assert played[0] > 0.5
    assert played[0] == pytest.approx(played[1], abs=0.1)
    assert browser.execute_script(  # what a reader compares is on the screen
        "return [...document.querySelectorAll('#utterances tbody tr')].every((row) => [...row.children].every((cell) =>"
        " cell.getBoundingClientRect().right <= innerWidth))"
    )
    columns = browser.execute_script(
        "return [...document.querySelectorAll('#utterances th')].map((e) => e.textContent)"
    )
    assert columns[:3] == ["reference", "main", "assistant"]
    for heading in ("seconds", "main's errors", "rejected tokens", "clip"):
        for direction in ("ascending", "descending"):
            column, values, sorted_as = browser.execute_script(
                "const head = [...document.querySelectorAll('#utterances th')].find("
                "(e) => e.textContent === arguments[0]); head.querySelector('button').click();"
                "const column = [...head.parentElement.children].indexOf(head);"
                "return [column, [...document.querySelectorAll('#utterances tbody tr')].map("
                "(row) => row.children[column].dataset.value ?? row.children[column].textContent),"
                "head.getAttribute('aria-sort')]",
                heading,
            )
            values = values if heading == "clip" else [float(value) for value in values]
            assert sorted_as == direction
            assert len(set(values)) > 1 or "errors" in heading
            assert values == sorted(values, reverse=direction == "descending"), column
    assert asked_elsewhere(browser, address) == []
