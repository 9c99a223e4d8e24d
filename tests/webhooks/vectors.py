"""The address guard's table: every way we know to make a webhook reach what it must not (reliability.md, D.1)."""

SHAPE, HOST, PORT = "shape", "host", "port"


def _each(words: str) -> list[str]:
    return words.split()


REFUSED_URLS: dict[str, str] = {
    # IPv4 addresses that some resolver reads out of something else.
    **{
        f"http://{host}/": HOST
        for host in _each(
            "2130706433 0x7f000001 0x7f.1 0177.0.0.1 127.1 017700000001 00000000177.1 127.0.0.0x1 0 0x0 169.254.43518 "
            "2852039166 0xA9FEA9FE 127.0.0.1. 127.0.0.01 1.2.3 1.2.3.4.5 256.1.1.1 8.8.8.8. 08.8.8.8"
        )
    },
    "http://①②⑦.⓪.⓪.①/": SHAPE,
    "http://１２７.０.０.１/": SHAPE,
    "http://127。0。0。1/": SHAPE,
    # Names of our own network, or of nothing.
    **{
        f"http://{host}/": HOST
        for host in _each(
            "localhost LOCALHOST LocalHost a.localhost a.b.LOCALHOST localhost.localdomain localhost. metadata "
            "metadata.google.internal printer.local router.home.arpa redis fairlane.example FairLane.Example "
            "example.com. example..com .example.com -a.example.com a-.example.com example.123 example.1a . - a."
        )
    },
    f"http://{'a' * 64}.example.com/": HOST,
    f"http://{'a.' * 127}com/": SHAPE,
    # What is not a name at all: IDNs as they are read, homographs, escapes, underscores.
    "http://bücher.example/": SHAPE,
    "http://exаmple.com/": SHAPE,
    "http://ⓁⓄⒸⒶⓁⒽⓄⓈⓉ/": SHAPE,
    "http://example.com%00.evil.example/": SHAPE,
    "http://ex%61mple.com/": SHAPE,
    "http://%31%32%37.0.0.1/": SHAPE,
    "http://a_b.example.com/": SHAPE,
    "http://*.example.com/": SHAPE,
    "http://[v1.fe]/": SHAPE,
    "http://[fe80::1%eth0]/": SHAPE,
    "http://[fe80::1%25eth0]/": SHAPE,
    "http://[::1/": SHAPE,
    "http://::1/": SHAPE,
    "http://[]/": SHAPE,
    "http://[:]/": SHAPE,
    "http://[::::]/": HOST,
    "http://[1.1.1.1]/": HOST,
    "http://[2606:4700:0:0:0:0:0:1111]/": HOST,
    "http://[::ffff:169.254.169.254]/": HOST,
    "http://[::ffff:8.8.8.8]/": HOST,
    # One string, two readings.
    "http://ok@127.0.0.1/": SHAPE,
    "http://ok.example:80@127.0.0.1/": SHAPE,
    "http://@example.com/": SHAPE,
    "http://127.0.0.1#@ok.example/": SHAPE,
    "http://ok.example#@127.0.0.1/": SHAPE,
    "http://ok.example/#fragment": SHAPE,
    "http://ok.example\\@127.0.0.1/": SHAPE,
    "http://ok.example\\.evil.example/": SHAPE,
    "http:\\\\ok.example/": SHAPE,
    "http://ok.example/a\\b": SHAPE,
    "http://1.1.1.1 &@2.2.2.2# @3.3.3.3/": SHAPE,
    "http://127.0.0.1\t.ok.example/": SHAPE,
    "http://ok.exa\tmple/": SHAPE,
    "http://ok.example\n/": SHAPE,
    "http://ok.example/\r\nX-Injected:1": SHAPE,
    "http://ok.example/a b": SHAPE,
    "http://ok.example/\x00": SHAPE,
    "http://ok.example/\x7f": SHAPE,
    "http://ok.example/ü": SHAPE,
    " http://ok.example/": SHAPE,
    "http://ok.example/\n": SHAPE,
    "httpſ://ok.example/": SHAPE,
    # Other schemes, or none.
    "file:///etc/passwd": SHAPE,
    "gopher://ok.example/": SHAPE,
    "ftp://ok.example/": SHAPE,
    "data:text/plain,x": SHAPE,
    "unix:/run/admin.sock": SHAPE,
    "http+unix://%2Frun%2Fadmin.sock/": SHAPE,
    "ws://ok.example/": SHAPE,
    "javascript:0": SHAPE,
    "//ok.example/": SHAPE,
    "ok.example": SHAPE,
    "http:/ok.example/": SHAPE,
    "http:///ok.example/": SHAPE,
    "http:ok.example": SHAPE,
    "http://": SHAPE,
    "": SHAPE,
    # Ports.
    "http://ok.example:22/": PORT,
    "http://ok.example:25/": PORT,
    "http://ok.example:79/": PORT,
    "http://ok.example:81/": PORT,
    "http://ok.example:1023/": PORT,
    "http://ok.example:65536/": PORT,
    "http://ok.example:99999/": PORT,
    "http://ok.example:0/": SHAPE,
    "http://ok.example:080/": SHAPE,
    "http://ok.example:/": SHAPE,
    "http://ok.example:-1/": SHAPE,
    "http://ok.example:8O/": SHAPE,
    "http://ok.example:100000/": SHAPE,
    "http://ok.example:80:80/": SHAPE,
    # Length.
    "http://ok.example/" + "a" * 2_031: SHAPE,
}

ALLOWED_URLS = (
    "http://ok.example",
    "http://ok.example/",
    "https://OK.Example/Path?q=1&r=[x]",
    "HTTPS://ok.example/",
    "http://ok.example?@127.0.0.1/",
    "http://ok.example/@127.0.0.1",
    "http://ok.example/http://127.0.0.1/%00",
    "http://xn--bcher-kva.example/",
    "http://1password.example.com/",
    "http://localhost.example.com/",
    "https://ok.example:443/",
    "https://ok.example:1024/",
    "https://ok.example:65535/",
    "http://8.8.8.8/",
    "https://[2606:4700:4700::1111]:8443/hook",
    "https://[2606:4700:4700::ABCD]/",
    "http://ok.example/" + "a" * 2_030,
)

FORBIDDEN_ADDRESSES = _each(
    # This host, private and shared networks, link-local with its metadata services, multicast, reserved.
    "0.0.0.0 0.1.2.3 127.0.0.1 127.255.255.254 10.0.0.1 10.255.255.255 172.16.0.1 172.31.255.255 192.168.0.1 "
    "100.64.0.1 100.100.100.200 100.127.255.255 169.254.0.1 169.254.169.254 169.254.170.2 224.0.0.1 239.255.255.250 "
    "240.0.0.1 255.255.255.255 198.18.0.1 198.19.255.255 192.0.2.1 198.51.100.1 203.0.113.1 "
    # Protocol assignments and anycast services that the nearest router answers.
    "192.0.0.1 192.0.0.8 192.0.0.9 192.0.0.10 192.0.0.170 192.0.0.192 192.31.196.1 192.52.193.1 192.88.99.1 "
    "192.175.48.1 168.63.129.16 "
    # IPv6 that is not global, or not given out.
    ":: ::1 fe80::1 fe80::a9fe:a9fe fe80::1%eth0 febf::1 fec0::1 fc00::1 fd00:ec2::254 fd20:ce::254 ff02::1 ff0e::1 "
    "100::1 100:0:0:1::1 1::1 4000::1 5f00::1 8000::1 3fff::1 2001:db8::1 2001:2::1 2001:10::1 2001:20::1 2001:1::1 "
    "2620:4f:8000::1 "
    # IPv4 inside IPv6: mapped, compatible, SIIT, NAT64 (well-known and local), 6to4, Teredo, ISATAP.
    "::ffff:127.0.0.1 ::ffff:169.254.169.254 ::ffff:8.8.8.8 ::127.0.0.1 ::169.254.169.254 ::ffff:0:127.0.0.1 "
    "64:ff9b::7f00:1 64:ff9b::a9fe:a9fe 64:ff9b::a00:1 64:ff9b::a83f:8110 64:ff9b:1::7f00:1 64:ff9b:1::808:808 "
    "2002:7f00:1:: 2002:a9fe:a9fe:: 2002:808:808:: 2001:0:7f00:1:: 2001:0:808:808::80ff:fffe "
    "2606:4700::5efe:7f00:1 2606:4700::200:5efe:a00:1 fe80::5efe:a00:1"
)

PUBLIC_ADDRESSES = _each(
    "1.1.1.1 8.8.8.8 9.255.255.255 11.0.0.0 100.63.255.255 100.128.0.0 126.255.255.255 128.0.0.0 168.63.129.15 "
    "168.63.129.17 169.253.255.255 169.255.0.0 172.15.255.255 172.32.0.0 192.0.1.0 192.167.255.255 192.169.0.0 "
    "198.17.255.255 198.20.0.0 223.255.255.255 2000::1 2606:4700:4700::1111 2001:200::1 2001:db9::1 2003::1 3ffe::1 "
    "64:ff9b::808:808"
)
