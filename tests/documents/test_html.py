"""What is read from HTML: what a reader sees, and nothing that is hidden from one."""

from functools import partial

import pytest

from rlvr_ray.documents.parsers import html
from tests import reading as files

PAGE = """<!DOCTYPE html>
<html lang=en><head><meta charset="utf-8"><title>Owls &amp; mice</title>
<style>p { color: red }</style><script>let a = "<p>script</p>";</script></head>
<body><header>Our site</header><nav><a href=/>Home</a></nav>
<main>
<h1>Owls<a href=#owls>¶</a></h1>
<p>Owls hunt
   at <b>night</b>&nbsp;&mdash; mostly.
<p>They hear a <em>mouse</em>&#33;
<ul><li>One<li>Two <ul><li>deep</ul><li><p>Three</p></ul>
<ol><li>First<li>Second</ol>
<h2>Sizes</h2>
<table><caption>In cm</caption><thead><tr><th>Name<th>Size</thead>
<tr><td><p>Eagle owl</p></td><td>70</td></tr><tr><td>Little owl<td></td><td>22</table>
<pre>
def hunt():
    return <span>"mouse"</span>

hunt()</pre>
<dl><dt>Prey<dd>Mice</dl>
<nav>On this page</nav>
</main><aside>Related</aside><footer>Imprint</footer></body></html>
"""
TEXT = """# Owls & mice

# Owls¶

Owls hunt at night — mostly.

They hear a mouse!

  * One
  * Two
      + deep

  * Three

 1. First
 2. Second

## Sizes

In cm
Name        Size
Eagle owl   70

Little owl        22

def hunt():
    return "mouse"

hunt()
Prey
Mice
On this page"""


def text(page: str) -> str:
    return html.text("a.html", page.encode())


read, refused = partial(files.read, "a.html"), partial(files.refused, "a.html")


def test_a_page() -> None:
    assert read(PAGE.encode()) == TEXT
    assert read(PAGE.replace("\n", "\r\n").encode("utf-8-sig")) == TEXT


@pytest.mark.parametrize(
    ("page", "expected"),
    [
        ("<title>T</title><h1>T</h1><p>x", "# T\n\nx"),
        ("<title> a\n b </title>x", "# a b\n\nx"),
        ("x<br>y<hr>z", "x\ny\nz"),
        ("<h2></h2><p>x", "x"),
        ("<span>a</span><span>b</span> <i>c</i>", "ab c"),
        ("<header>a</header><p>b<footer>c</footer>", "a\n\nb\n\nc"),
        ("<header>a</header><article><header>T</header>b</article><footer>c", "T\nb"),
        ("<div role=navigation>a</div><div role=main>b</div>", "b"),
        ("<table><tr><td><h1>a</h1><p>b<p>c</table>", "# a\n\nb\n\nc"),
        ("3 < 4 &lt; 5 & 6 &unknown; <3", "3 < 4 < 5 & 6 &unknown; <3"),
        ("<a title='>'>x</a>", "x"),
        ("<details><summary>s</summary>x</details>", "s\nx"),
        ("<svg/>x", "x"),
        ("<svg><title>no</title><path/></svg>x", "x"),
        ("&#9999999999999;&#" + "1" * 6000 + ";&#0;x", "\ufffd\ufffd\ufffdx"),
        ("C# <h2>C#</h2>", "C#\n\n## C#"),
    ],
)
def test_what_is_seen(page: str, expected: str) -> None:
    assert text(page) == expected


HIDDEN = [
    "<p hidden>NO</p>",
    "<p hidden=until-found>NO</p>",
    "<div aria-hidden=TRUE><p>NO</p></div>",
    "<p style='color:red; display : none'>NO</p>",
    "<p style='DISPLAY:/**/NONE !important'>NO</p>",
    "<p style='visibility:hidden'>NO</p>",
    "<p style='font-size:0px'>NO</p>",
    "<p style='opacity:.0;color:red'>NO</p>",
    "<!-- NO -->",
    "<!-- <p>NO</p> --!>",
    "<!--> <!-- NO -->",
    "<!doctype NO>",
    "<?NO?>",
    "</ NO>",
    "<script>NO</script>",
    "<script><!--<script></script>NO--></script>",
    "<style>NO</style >",
    "<template>NO</template>",
    "<noscript>NO</noscript>",
    "<textarea><p>NO</textarea>",
    "<iframe><p>NO</iframe>",
    "<dialog>NO</dialog>",
    "<select><option>NO</select>",
    "<button>NO</button>",
    "<img alt=NO>",
    "<svg><text>NO</text></svg>",
    "<svg><![CDATA[</svg>NO]]></svg>",
    "<div hidden><p>NO<p>NO</div>",
    "<span hidden><div></span>NO</div></span>",
    "<b hidden><b>x</b>NO</b>",
    "<b hidden><div hidden></b>NO</div>",
    "<b hidden><table><td></b>NO</table></b>",
    "<math><mtext><span hidden/>NO</span></mtext></math>",
]


@pytest.mark.parametrize("page", HIDDEN)
def test_what_is_hidden(page: str) -> None:
    assert text(f"<p>before</p>{page}<p>after") == "before\n\nafter"
    assert refused(page.encode()) == "a.html holds no text that a reader sees"


@pytest.mark.parametrize(
    "page",
    [
        "<p hidden>NO<p>x",
        "<table><tr hidden><td>NO<tr><td>x</table>",
        "<ul><li hidden>NO<li>x</ul>",
        "<p style='display:block;opacity:0.5'>x",
        "<p style='font-size:0.9em'>x",
        "<dialog open>x</dialog>",
    ],
)
def test_what_is_seen_beside_it(page: str) -> None:
    assert text(page).lstrip("* ") == "x"


@pytest.mark.parametrize("page", ["x<p title='NO", "x<a NO", "x<!-- NO"])
def test_nothing_after_what_never_ends(page: str) -> None:
    assert "NO" not in text(page)


@pytest.mark.parametrize(
    ("data", "expected"),
    [
        ("<p>Größe".encode(), "Größe"),
        ("<p>Größe".encode("utf-8-sig"), "Größe"),
        (b"\xff\xfe" + "<p>Größe".encode("utf-16-le"), "Größe"),
        (b"\xfe\xff" + "<p>Größe".encode("utf-16-be"), "Größe"),
        ('<meta charset="windows-1251"><p>Сова'.encode("cp1251"), "Сова"),
        ("<meta charset=shift_jis>梟".encode("cp932"), "梟"),
        ("<!-- <meta charset=latin1> --><p>é".encode(), "é"),
        ("<meta charset=utf-16><p>é".encode(), "é"),
        ("<p>é<meta charset=utf-8>".encode(), "é"),
    ],
)
def test_charsets(data: bytes, expected: str) -> None:
    assert read(data) == expected


@pytest.mark.parametrize(
    ("data", "detail"),
    [
        (b"<p>caf\xe9 au lait", "a.html is not UTF-8: invalid continuation byte at byte 6"),
        (b"\xff\xfex", "is not UTF-16"),
    ],
)
def test_bytes_of_another_charset_are_refused(data: bytes, detail: str) -> None:
    assert detail in refused(data)


def test_a_hundred_thousand_elements_within_each_other() -> None:
    assert "nested too deeply" in refused(b"<div>" * 100_000 + b"x")
    assert read(b"<p>x" * 5_000) == "\n\n".join("x" * 5_000)
    assert read(b"</div>" * 100_000 + b"x") == "x"


@pytest.mark.parametrize(
    "page",
    [
        *("<!--" * 500_000, "<a " * 500_000, "<a b='" * 500_000, "<" * 500_000),
        *("<script><!--" * 200_000, "<title>" * 200_000, "&" * 500_000),
        "<p style='" + "display:" * 200_000 + "'>",
    ],
    ids=lambda page: page[:12],
)
def test_what_costs_some_parsers_the_square(page: str) -> None:
    """A minute is the limit of any test's patience; the square of these would take hours."""
    assert len(text(f"<p>x</p>{page}")) <= len(page) + 10


def test_limits(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(html, "MAX_TEXT", 100)
    assert read(b"<p>" + b"x" * 90) == "x" * 90
    assert "more than 100 characters of text; split it" in refused(b"<p>" + b"x" * 101)
