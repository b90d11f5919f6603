"""The formatted body of notices."""

from html.parser import HTMLParser

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bot.words import without_ping
from bot.worker.formatting import formatted


class Tags(HTMLParser):
    """A reader that notes each tag with its attributes, and the text between them."""

    def __init__(self) -> None:
        super().__init__()
        self.tags: list[tuple[str, tuple[str, ...]]] = []
        self.hrefs: list[str] = []
        self.text = ""

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, tuple(name for name, _ in attrs)))
        self.hrefs += [value or "" for name, value in attrs if name == "href"]

    def handle_data(self, data: str) -> None:
        self.text += data

    def handle_comment(self, data: str) -> None:
        self.tags.append(("comment", ()))

    def handle_decl(self, decl: str) -> None:
        self.tags.append(("declaration", ()))

    def handle_pi(self, data: str) -> None:
        self.tags.append(("instruction", ()))


def read(body: str) -> Tags:
    reader = Tags()
    reader.feed(formatted(body))
    reader.close()
    return reader


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        ("one\ntwo", "one<br>two"),
        ("Known:\n• a `b`\n• c\nend", "Known:<ul><li>a <code>b</code></li><li>c</li></ul>end"),
        ("a ` b", "a ` b"),
        ("`<b>`", "<code>&lt;b&gt;</code>"),
        ("<b>&amp;", "&lt;b&gt;&amp;amp;"),
        ("(see http://x/a?b=1&c=2).", '(see <a href="http://x/a?b=1&amp;c=2">http://x/a?b=1&amp;c=2</a>).'),
        ("javascript:alert(1)", "javascript:alert(1)"),
    ],
)
def test_marks_become_tags(body: str, expected: str) -> None:
    """Code, addresses, lists and ends of lines have their tags, and all else is escaped."""
    assert formatted(body) == expected


HOSTILE = st.lists(
    st.one_of(
        st.sampled_from(
            [
                "<",
                ">",
                '"',
                "'",
                "&",
                "`",
                "\n",
                "• ",
                " ",
                "https://",
                "http://",
                "<script>",
                "onclick=",
                "&lt;",
                "</code>",
            ]
        ),
        st.text(max_size=5),
    ),
    max_size=20,
).map("".join)


@given(HOSTILE)
def test_no_text_makes_a_tag_or_an_attribute(body: str) -> None:
    """Whatever is written, the tags are code, br, lists and links to addresses that stand in the text."""
    reader = read(body)
    assert set(reader.tags) <= {("code", ()), ("br", ()), ("ul", ()), ("li", ()), ("a", ("href",))}
    assert all(href.startswith(("https://", "http://")) and href in body for href in reader.hrefs)


@given(HOSTILE)
def test_the_text_is_the_plain_one(body: str) -> None:
    """The formatted body has the words of the plain one, without its marks."""
    marks = str.maketrans("", "", "`•\n ")
    assert read(body).text.translate(marks) == body.translate(marks)


@given(st.lists(st.sampled_from(["@", "＠", "room", "ROOM", "x", " "]), max_size=12).map("".join))
def test_no_text_notifies_a_room(body: str) -> None:
    """The ping is gone after one pass, however it was nested."""
    assert "@room" not in without_ping(body).lower()
    assert "＠room" not in without_ping(body).lower()
