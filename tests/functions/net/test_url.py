"""URLs as strangers write them: what is taken leads to the host that it seems to, and all else is refused."""

import pytest

from functions.net.url import parsed


@pytest.mark.parametrize(
    ("text", "origin", "authority", "target"),
    [
        ("http://a.example", "http://a.example:80", "a.example", "/"),
        ("HTTPS://A.Example:443/x?y=1#f", "https://a.example:443", "a.example", "/x?y=1"),
        ("http://a.example:443/", "http://a.example:443", "a.example:443", "/"),
        ("http://a.example:/x", "http://a.example:80", "a.example", "/x"),
        ("http://a.example?x", "http://a.example:80", "a.example", "/?x"),
        ("http://a.example/ä?q=ü", "http://a.example:80", "a.example", "/%C3%A4?q=%C3%BC"),
        ("http://a.example/%41%2f%zz%", "http://a.example:80", "a.example", "/%41%2f%25zz%25"),
        ("http://a.example/?a[]=1&b=\"<>{}|^`'+", "http://a.example:80", "a.example", None),
        ("http://a.example/a/../b//c", "http://a.example:80", "a.example", "/a/../b//c"),
        ("http://a.example#@b/", "http://a.example:80", "a.example", "/"),
        ("http://a.example?@b/", "http://a.example:80", "a.example", "/?@b/"),
        ("http://a_b.example/", "http://a_b.example:80", "a_b.example", "/"),
        ("http://[::1]:8080/x", "http://[::1]:8080", "[::1]:8080", "/x"),
        ("http://[0:0:0:0:0:FFFF:1.2.3.4]/", "http://[::ffff:102:304]:80", "[::ffff:102:304]", "/"),
        ("http://bücher.example/", "http://xn--bcher-kva.example:80", "xn--bcher-kva.example", "/"),
        ("http://faß.de/", "http://xn--fa-hia.de:80", "xn--fa-hia.de", "/"),
        # UTS 46: what looks like an address is one, and judged as one
        ("http://\uff11\uff12\uff17\u30020.0.1/", "http://127.0.0.1:80", "127.0.0.1", "/"),
    ],
)
def test_a_url_leads_to_one_origin_and_its_request_is_plain_ascii(
    text: str, origin: str, authority: str, target: str | None
) -> None:
    url = parsed(text)

    assert (url.origin, url.authority) == (origin, authority)
    assert url.target == (target or "/?a%5B%5D=1&b=%22%3C%3E%7B%7D%7C%5E%60'+")
    assert parsed(str(url)) == url
    assert url.shown == str(url).partition("?")[0]


def test_a_name_s_last_dot_is_for_dns_alone() -> None:
    url = parsed("http://a.example./x")

    assert (url.host, url.origin) == ("a.example.", "http://a.example.:80")
    assert str(url) == "http://a.example/x"


@pytest.mark.parametrize("host", ["127.0.0.1", "[::1]", "\uff11\uff12\uff17.0.0.1"])
def test_an_address_is_known_as_one(host: str) -> None:
    assert parsed(f"http://{host}/").is_address


@pytest.mark.parametrize("host", ["127.1", "2130706433", "0x7f.1", "localhost", "127.0.0.1."])
def test_an_address_in_another_form_is_looked_up_like_a_name(host: str) -> None:
    assert not parsed(f"http://{host}/").is_address


@pytest.mark.parametrize(
    "text",
    [
        "",
        "/errands",
        "//a.example/",
        "http:/a.example",
        "http:a.example",
        "http:///a.example",
        "ftp://a.example/",
        "javascript://a.example/%0aalert(1)",
        # taken out by some parsers, so that another host stands there
        " http://a.example/",
        "http://a.example/\n",
        "ht\ntp://a.example/",
        "http://a\t.example/",
        "http://a\u00a0.example/",
        "http://a.example/x y",
        "http://a.example/\x00",
        "http://a.example/\x7f",
        "http://a.example/\r\nx-header: 1",
        # where one parser sees the end of the host, and another a user
        "http://a.example\\@b.example/",
        "http://a.example\\b",
        "http://a.example/\\b",
        "http://user@a.example/",
        "http://:@a.example/",
        "http://@a.example/",
        "http://a@b@c/",
        # ports that yarl and int() take
        "http://a.example:+80/",
        "http://a.example:8_0/",
        "http://a.example:\uff18\uff10/",
        "http://a.example:80:90/",
        "http://a.example:0/",
        "http://a.example:65536/",
        "http://a.example:-1/",
        # hosts that are none
        "http://[",
        "http://[::1",
        "http://[::1]x/",
        "http://x[::1]/",
        "http://[v1.x]/",
        "http://[::1%25eth0]/",
        "http://[127.0.0.1]/",
        "http://::1/",
        "http://a..b/",
        "http://.a/",
        "http://./",
        "http://%6cocalhost/",
        "http://a%00b/",
        "http://a;b/",
        "http://a,b/",
        f"http://{'a' * 64}.example/",
        f"http://{'a.' * 127}b/",
        "http://a\u2100b.example/",  # a/c: a slash after UTS 46
        "http://\ud800.example/",
        "http://a.example/\ud800",
    ],
)
def test_what_two_parsers_may_read_in_two_ways_is_refused_without_being_shown(text: str) -> None:
    with pytest.raises(ValueError, match="must ") as raised:
        parsed(text)

    assert "header" not in str(raised.value)
    assert type(raised.value) is ValueError


@pytest.mark.parametrize("user", ["shop", "shop:secret", ":", ""])
def test_a_user_is_named_as_the_reason_and_not_shown(user: str) -> None:
    with pytest.raises(ValueError, match=r"must not hold a user name or password, got one for a\.example:1") as raised:
        parsed(f"http://{user}@a.example:1/")

    assert "shop" not in str(raised.value)
