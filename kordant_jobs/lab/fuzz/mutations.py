"""Inputs made worse by dice: bytes cut, doubled, exchanged; values that parsers, databases and terminals stumble over.

The same seed gives the same inputs.
"""

import json
from random import Random
from typing import Any

WORDS: tuple[bytes, ...] = (
    b"\x00", b"\xff\xfe", b"\xed\xa0\x80", b"\\ud800", b"\r\n\r\n", b"\n\n", b"\x1b[2J", b"[/x]", b"%00", b"%",
    b"=?utf-8?q?",
    b"--", b"\xc2\xb2", b"9" * 400, b"-1", b"1e309", b"NaN", b"[" * 3000, b"{\"a\":" * 3000, b"\"", b"'", b"../",
    b"\xe2\x80\xae",
    b";", b":" * 70, b"multipart/report; boundary=x", b"message/rfc822", b"a" * 70_000, b"=\r\n", b"\t", b"(" * 500,
)  # fmt: skip

VALUES: tuple[Any, ...] = (
    None, True, -1, 0, 2**63, 10**400, 1e308, float("nan"), "", "\x00", "\ud800", "a\x00b", "[/x]", "x" * 100_000, [],
    {},
    [[]],
    {"a": {"b": [None]}}, "0000-00-00", "9999-12-31", "2013-02-30", "-4712-01-01", "\u202e", ["\x00"], [1], "\x1b[31m",
    "１２",
)  # fmt: skip


def worse(content: bytes, dice: Random) -> bytes:
    """`content` after one to five mutations."""
    for _ in range(dice.randint(1, 5)):
        place = dice.randint(0, len(content))
        end = min(len(content), place + dice.choice((1, 2, 8, 64, 512)))
        word = dice.choice(WORDS)
        match dice.randrange(7):
            case 0:
                content = content[:place] + word + content[place:]
            case 1:
                content = content[:place] + word + content[end:]
            case 2:
                content = content[:place] + content[end:]
            case 3:
                content = content[:end] + content[place:end] * dice.randint(1, 40) + content[end:]
            case 4:
                content = content[:place]
            case 5:
                flipped = bytes(one ^ (1 << dice.randrange(8)) for one in content[place:end])
                content = content[:place] + flipped + content[end:]
            case _:
                lines = content.split(b"\n")
                dice.shuffle(lines)
                content = b"\n".join(lines)
    return content[: 1 << 20]


def worse_json(value: Any, dice: Random) -> bytes:
    """JSON in which a few values are others, then in one of three cases its bytes as well."""
    for _ in range(dice.randint(1, 3)):
        value = _exchanged(value, dice)
    content = json.dumps(value).encode()
    return worse(content, dice) if dice.random() < 1 / 3 else content


def _exchanged(value: Any, dice: Random) -> Any:
    if isinstance(value, dict) and value and dice.random() < 0.9:
        name = dice.choice(list(value))
        rest = {key: one for key, one in value.items() if key != name}
        return rest if dice.random() < 0.15 else {**value, name: _exchanged(value[name], dice)}
    if isinstance(value, list) and value and dice.random() < 0.9:
        place = dice.randrange(len(value))
        return [*value[:place], _exchanged(value[place], dice), *value[place + 1 :]]
    return dice.choice(VALUES)
