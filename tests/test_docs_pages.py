"""The documentation hangs together: links, anchors, pictures, code blocks, commands and their options."""

from __future__ import annotations

import ast
import re
import shlex
from pathlib import Path

import click
import pytest

from ssl_skel.cli.main import cli
from ssl_skel.errors import SkelError

REPO = Path(__file__).resolve().parents[1]
DOCS = REPO / "docs"
SITE = sorted(DOCS.rglob("*.md"))
PAGES = [*SITE, *(REPO / name for name in ("README.md", "CONTRIBUTING.md", "CHANGELOG.md")),
         *sorted((REPO / "plugins").glob("*/README.md"))]
SHELL = ("console", "shell", "bash", "sh", "")
FENCE = re.compile(r"^```([\w{}-]*)[^\n]*\n(.*?)^```", re.MULTILINE | re.DOTALL)


def names(pages):
    return [str(page.relative_to(REPO)) for page in pages]


def blocks(page, *languages):
    return [body for language, body in FENCE.findall(page.read_text(encoding="utf-8")) if language in languages]


def prose(page):
    return re.sub(r"`[^`\n]*`", "", FENCE.sub("", page.read_text(encoding="utf-8")))


def anchors(page):
    """Targets that a page offers: headings as GitHub writes them, and explicit ones."""
    text = FENCE.sub("", page.read_text(encoding="utf-8"))
    headings = [re.sub(r"[^\w\- ]", "", line.lower()).replace(" ", "-")
                for line in re.findall(r"^#+ (.+)$", text, re.MULTILINE)]
    return {*headings, *re.findall(r"^\(([\w-]+)\)=$", text, re.MULTILINE)}


@pytest.mark.parametrize("page", PAGES, ids=names(PAGES))
def test_links_lead_somewhere(page):
    broken = []
    for target in re.findall(r"\]\(([^)\s]+)\)", prose(page)):
        if re.match(r"[a-z]+:", target):
            continue
        path, _, anchor = target.partition("#")
        file = (page.parent / path).resolve() if path else page
        if not file.exists() or (anchor and anchor not in anchors(file)):
            broken.append(target)
    assert not broken


@pytest.mark.parametrize("page", SITE, ids=names(SITE))
def test_pages_of_the_site_link_within_it(page):
    """Sphinx can't follow a link to a file beside docs/."""
    for target in re.findall(r"\]\(([^)\s#]+)", prose(page)):
        if not re.match(r"[a-z]+:", target):
            assert (page.parent / target).resolve().is_relative_to(DOCS), target


def test_every_page_of_the_site_is_in_its_contents():
    listed = set()
    for page in (DOCS / "index.md", DOCS / "api" / "index.md"):
        for block in blocks(page, "{toctree}"):
            for entry in (line for line in block.splitlines() if line and not line.startswith(":")):
                found = list(page.parent.glob(f"{entry}.md"))
                assert found, f"{page}: {entry}"
                listed |= set(found)
    assert set(SITE) - {DOCS / "index.md"} <= listed


def test_pictures_are_small_and_used():
    used = {(page.parent / target).resolve() for page in PAGES
            for target in re.findall(r"!\[[^\]]+\]\(([^)\s]+)\)", page.read_text(encoding="utf-8"))}
    pictures = set((DOCS / "images").iterdir())
    assert pictures <= used
    assert all(path.stat().st_size < 300_000 for path in pictures)


@pytest.mark.parametrize("page", PAGES, ids=names(PAGES))
def test_pictures_have_a_description(page):
    assert not re.findall(r"!\[\s*\]", page.read_text(encoding="utf-8"))


@pytest.mark.parametrize("page", PAGES, ids=names(PAGES))
def test_python_blocks_compile(page):
    for body in blocks(page, "python"):
        try:
            ast.parse(body)
        except IndentationError:
            ast.parse("class Excerpt:\n" + body)


def commands(page):
    """Command lines of ssl-skel in shell blocks: after a prompt where a block has one, else its every line."""
    for body in blocks(page, *SHELL):
        lines = body.replace("\\\n", " ").splitlines()
        prompted = [line[2:] for line in lines if line.startswith("$ ")]
        for line in prompted or lines:
            for part in re.split(r"&&|\||;", line.partition("  #")[0]):
                if part.strip().startswith("ssl-skel "):
                    yield part.strip()


def mistake(line):
    """What is wrong with a command line, or nothing."""
    words = [word for word in shlex.split(line, comments=True)[1:] if word != "..."]
    command: click.Command = cli
    context = click.Context(cli)
    while isinstance(command, click.Group) and words and not words[0].startswith("-"):
        try:
            command = command.get_command(context, words[0])
        except SkelError as error:
            return error.message
        words = words[1:]
    known = {option for parameter in command.get_params(context) for option in parameter.opts}
    for word in (word.strip("[]").partition("=")[0] for word in words):
        if re.match(r"--?[a-z]", word) and word not in known:
            return f"no option {word} of {line!r}"
    return ""


@pytest.mark.parametrize("page", PAGES, ids=names(PAGES))
def test_commands_and_options_exist(page):
    wrong = [found for line in commands(page) if (found := mistake(line))]
    assert not wrong


@pytest.mark.parametrize(("line", "told"), [
    ("ssl-skel view clod x", "Did you mean 'cloud'"), ("ssl-skel bench run --siute x", "no option --siute"),
    ("ssl-skel bench run --suite smoke -p simclr --set a=-1", ""), ("ssl-skel --version", "")])
def test_the_check_of_commands_would_notice(line, told):
    assert told in mistake(line)
    assert bool(told) == bool(mistake(line))


def test_every_command_of_view_is_shown():
    text = (DOCS / "pictures.md").read_text(encoding="utf-8")
    group = cli.get_command(click.Context(cli), "view")
    assert isinstance(group, click.Group)
    assert all(f"ssl-skel view {name} " in text for name in group.list_commands(click.Context(group)))


def test_every_protocol_is_explained():
    from ssl_skel.registry import discover

    text = (DOCS / "protocols.md").read_text(encoding="utf-8")
    shipped = [entry.name for entry in discover().entries("evaluators") if entry.origin.startswith("ssl_skel")]
    assert len(shipped) > 10
    assert [name for name in shipped if f"`{name}`" not in text] == []
