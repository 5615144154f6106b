"""Bad input by number: what is sound, spoilt in ways that the dice choose. Pure: the same dice give the same words."""

import random
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

_INTERESTING = (0, 9, 10, 13, 32, 34, 37, 46, 47, 58, 60, 61, 127, 128, 192, 255)
_WORDS = (
    b"\r\n\r\n",
    b"\r\n ",
    b"\r\n.\r\n",
    b"\0",
    b"%00",
    b"\xff\xfe",
    b"=?utf-8?q?=",
    b"=?x?b?",
    b"--",
    b"\xe2\x80\xae",
    b"A" * 5000,
    b"(" * 300,
    b'"' * 300,
    b"\r\nContent-Type: multipart/mixed; boundary=x\r\n",
    b"\r\nContent-Transfer-Encoding: base64\r\n",
    b"9" * 40,
)
_CURVE_ORDER = 0xFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFEBAAEDCE6AF48A03BBFD25E8CD0364141
_ALPHABET = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_.=+/ ~%"


def spoilt(raw: bytes, dice: random.Random) -> bytes:
    """Octets with one to five faults."""
    octets = bytearray(raw)
    for _ in range(dice.choice((1, 1, 2, 5))):
        dice.choice(_SPOILERS)(octets, dice)
    return bytes(octets)


def _flip(octets: bytearray, dice: random.Random) -> None:
    if octets:
        octets[dice.randrange(len(octets))] ^= 1 << dice.randrange(8)


def _set(octets: bytearray, dice: random.Random) -> None:
    if octets:
        octets[dice.randrange(len(octets))] = dice.choice(_INTERESTING)


def _cut(octets: bytearray, dice: random.Random) -> None:
    begin = dice.randrange(len(octets) + 1)
    del octets[begin : begin + dice.choice((1, 2, 10, 1000))]


def _repeat(octets: bytearray, dice: random.Random) -> None:
    begin = dice.randrange(len(octets) + 1)
    piece = octets[begin : begin + dice.choice((1, 10, 200))]
    octets[begin:begin] = piece * dice.choice((1, 3, 50))


def _insert(octets: bytearray, dice: random.Random) -> None:
    place = dice.randrange(len(octets) + 1)
    octets[place:place] = dice.choice(_WORDS)


def _swap_lines(octets: bytearray, dice: random.Random) -> None:
    lines = bytes(octets).split(b"\n")
    dice.shuffle(lines)
    octets[:] = b"\n".join(lines)


_SPOILERS: Sequence[Callable[[bytearray, random.Random], None]] = (_flip, _set, _cut, _repeat, _insert, _swap_lines)


def sign_in(message: str, signature: str, dice: random.Random) -> tuple[str, str]:
    """A SIWE message or its signature, changed; never both as they were."""
    while True:
        if dice.random() < 0.5:
            changed = (_message(message, dice), signature)
        else:
            changed = (message, _signature(signature, dice))
        if changed[0] != message or _meaning(changed[1]) != _meaning(signature):
            return changed


def _meaning(signature: str) -> str:
    """The same for signatures that are only written differently: 0x, case, and the recovery bit (0, 27, EIP-155)."""
    digits = signature.lower().removeprefix("0x")
    try:
        v = int(digits[128:], 16)
    except ValueError:
        return digits
    return digits[:128] + str(v if v < 2 else v - 27 if v < 35 else (v - 35) % 2)


def _message(message: str, dice: random.Random) -> str:
    lines = message.split("\n")
    place = dice.randrange(len(lines))
    match dice.randrange(8):
        case 0:
            del lines[place]
        case 1:
            lines[place] += dice.choice((" ", "\r", "\t", "\0", "\u200b", "é"))
        case 2:
            lines[place] = lines[place].swapcase()
        case 3:
            lines.insert(
                place, dice.choice(("", "Resources:", "- https://evil.example", "Nonce: aaaaaaaa", "x" * 3000))
            )
        case 4:
            lines[place] = "".join(dice.sample(lines[place], len(lines[place])))
        case 5:
            return message.replace("\n", "\r\n")
        case 6:
            lines[0] = f"evil.example wants you to sign in with your Ethereum account:{dice.choice(('', ' '))}"
        case _:
            return spoilt(message.encode(), dice).decode("utf-8", "replace")[:4096]
    return "\n".join(lines)[:4096]


def _signature(signature: str, dice: random.Random) -> str:
    digits = signature.removeprefix("0x")
    r, s, v = digits[:64], digits[64:128], digits[128:]
    match dice.randrange(8):
        case 0:
            return "0x" + r + f"{_CURVE_ORDER - int(s, 16):064x}" + v  # the other root, under the same recovery bit
        case 1:
            return "0x" + r + s + dice.choice(("", "00", "01", "1d", "ff", "1b1b"))
        case 2:
            return "0x" + "0" * 64 + s + v
        case 3:
            return "0x" + "f" * 128 + v
        case 4:
            return dice.choice(("", "0x", "0X" + digits.upper(), digits[:-1], "0x" + digits * dice.choice((2, 70))))
        case 5:
            return "0x" + digits[: dice.randrange(len(digits))] + dice.choice("ghé \0") + digits[-5:]
        case _:
            place = dice.randrange(len(digits))
            return "0x" + digits[:place] + dice.choice("0123456789abcdef") + digits[place + 1 :]


def proof(sound: str, other: str, dice: random.Random) -> str:
    """A payment proof, changed; `other` is one of another tenant, for exchanging parts. Fit for a header."""
    while (changed := _proof(sound, other, dice).strip()) == sound or not changed.isprintable():
        pass
    return changed


def _proof(sound: str, other: str, dice: random.Random) -> str:
    parts, strange = sound.split("."), other.split(".")
    place = dice.randrange(len(sound))
    match dice.randrange(9):
        case 0:
            return sound[:place] + dice.choice(_ALPHABET) + sound[place + 1 :]
        case 1:
            return sound[:place] + sound[place + dice.choice((1, 2, 30)) :]
        case 2:
            return sound[:place] + "".join(dice.choices(_ALPHABET, k=dice.choice((1, 4, 3000)))) + sound[place:]
        case 3:
            turn = dice.randrange(len(parts))
            return ".".join([*parts[:turn], strange[turn], *parts[turn + 1 :]])
        case 4:
            return ".".join(dice.sample(parts, len(parts)))
        case 5:
            return sound + dice.choice(("=", "==", ".", " ", "A", "%3D", f",{sound}", f" {sound}"))
        case 6:
            return sound.swapcase() if dice.random() < 0.5 else sound.upper()
        case 7:
            return dice.choice(("", "v1", "v1...", "v2." + sound[3:], "null", "Bearer " + sound, other))
        case _:
            return "".join(dice.choices(_ALPHABET, k=dice.choice((1, 10, len(sound), 5000)))).strip() or "x"


def spellings(path: str) -> list[str]:
    """Other ways to write a path, none of which is it."""
    return [each for each in dict.fromkeys(_spellings(path)) if each != path]


def _spellings(path: str) -> Iterator[str]:
    parts = path.split("/")
    last = parts[-1]
    head = "/".join(parts[:-1])
    yield from (f"/{path}", f"{path}/", f"{path}//", f"{head}//{last}", f"{head}/./{last}", f"{head}/x/../{last}")
    yield from (
        f"{head}/{last.upper()}",
        path.upper(),
        path.title(),
        f"{path}.",
        f"{path}%20",
        f"{path}%00",
        f"{path};a=b",
    )
    yield from (f"{head}/%{ord(last[0]):02x}{last[1:]}", f"{head}/%25{ord(last[0]):02x}{last[1:]}", f"{head}%2f{last}")
    yield from (
        f"{head}\\{last}",
        f"{path}%c0%af",
        f"{path}%e2%80%8b",
        f"/..{path}",
        f"/%2e%2e{path}",
        f"{path}%0d%0ax:y",
    )
    yield from (path.replace("/v2", "/v1"), path.replace("/v2", "/v2%2f"), f"{path}\t")


def corpus(tests: Path) -> list[bytes]:
    """Real, legacy and malformed mails, where the collection is there, and some of our own; lines end with CRLF."""
    folder = tests.parent.parent / "shared" / "vectors" / "eml"
    raw = [path.read_bytes() for path in sorted(folder.glob("*/*.eml")) if path.stat().st_size < 60_000]
    own = [each.encode() for each in _OWN]
    return [each.replace(b"\r\n", b"\n").replace(b"\n", b"\r\n") for each in (*raw, *own)]


_OWN = (
    "From: a@b.example\nSubject: code\n\nYour code is 123456.\n",
    """From: =?utf-8?q?=C3=A4?= <a@b.example>
To: b@c.example, "x" <y@z.example>
Subject: =?iso-2022-jp?b?GyRCPEAbKEI=?=

x
""",
    """From: a@b.example
MIME-Version: 1.0
Content-Type: multipart/alternative; boundary="q"

--q
Content-Type: text/plain; charset=utf-8
Content-Transfer-Encoding: quoted-printable

Your code =3D 482915
--q
Content-Type: text/html; charset=gb2312
Content-Transfer-Encoding: base64

PHA+PGEgaHJlZj0iaHR0cHM6Ly9iLmV4YW1wbGUvdmVyaWZ5P3Q9MSI+VmVyaWZ5PC9hPjwvcD4=
--q--
""",
    """From: a@b.example
Content-Type: multipart/mixed; boundary=m

--m
Content-Type: message/rfc822

Subject: in

x
--m
Content-Disposition: attachment; filename*=utf-8''%e2%82%ac.pdf; filename*0="a"

data
--m--
""",
    """From: <@@;
To: undisclosed-recipients:;
Date: x
References: <a@b> <c@d>
In-Reply-To: <a@b>

> q
reply
""",
)
_COMMANDS = (
    b"EHLO x.example",
    b"HELO x",
    b"MAIL FROM:<a@b.example>",
    b"MAIL FROM:<> SIZE=100 BODY=8BITMIME SMTPUTF8",
    b"RCPT TO:<nobody@inbox.leasebox.test>",
    b"RCPT TO:<box@inbox.leasebox.test> NOTIFY=NEVER ORCPT=rfc822;x",
    b"DATA",
    b"BDAT 5\r\nhello",
    b"BDAT 3 LAST\r\nabc",
    b"Subject: x\r\n\r\nbody\r\n.",
    b".",
    b"RSET",
    b"NOOP",
    b"VRFY a",
    b"HELP",
    b"EXPN x",
    b"STARTTLS extra",
    b"AUTH PLAIN AGEAYg==",
    b"PROXY TCP4 1.2.3.4 5.6.7.8 1 2",
    b"GET / HTTP/1.1",
    b"QUIT",
)


def dialogue(dice: random.Random) -> bytes:
    """What a confused or hostile sender says in one breath: commands, some of them spoilt."""
    said = []
    for _ in range(dice.choice((1, 2, 4, 9))):
        line = dice.choice(_COMMANDS)
        if dice.random() < 0.6:
            line = spoilt(line, dice)
        said.append(line + dice.choice((b"\r\n", b"\r\n", b"\r\n", b"\n", b"\r", b"\r\r\n", b"")))
    return b"".join(said)
