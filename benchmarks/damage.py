"""Damaged copies of files: bytes, tables, trees (JSON, YAML), arrays, images and states of networks are changed."""

import csv
import io
import json
import re
import zlib
from collections.abc import Callable, Sequence
from functools import cache
from random import Random
from typing import Any

import torch
import yaml

Change = Callable[[bytes, Random, Sequence[bytes]], bytes]
PNG = b"\x89PNG\r\n\x1a\n"
TOKENS = [
    *(
        b"1e30",
        b"-1",
        b"nan",
        b"",
        b"x",
        b"0",
        b"null",
        b"true",
        b"-inf",
        b"1e999",
        b"0.5",
        b"2",
        b"9" * 30,
        b"9" * 5000,
    ),
    *(b"\x00", b"\xff\xfe", b'"', b"'", b",", b"\n", b"\r\n", b"#", b"{", b"[", b"x" * 100_000, b"\xc3\xa9", b"%s"),
]
JSON_TOKENS = [
    *(
        b"null",
        b"true",
        b"-1",
        b"1.5",
        b"1e30",
        b"NaN",
        b'""',
        b'"x"',
        b"[]",
        b"{}",
        b"[1, 2]",
        b'{"a": 1}',
        b'"\\ud800"',
    ),
    *(b'"' + b"x" * 100_000 + b'"', b"9" * 5000, b"[" * 100_000 + b"]" * 100_000, b'{"a":' * 500 + b"1" + b"}" * 500),
    *(b'"a\\nb"', b'"../../x"', b'"/dev/zero"', b"1e400", b"123456789012345678901234567890"),
]
BOMB = b"[&a [x, x, x, x, x, x, x, x, x]"
for one, two in zip("abcdefgh", "bcdefghi", strict=True):  # each list holds the one before nine times
    BOMB += f", &{two} [{', '.join([f'*{one}'] * 9)}]".encode()
BOMB += b", *i]"
YAML_TOKENS = [
    *JSON_TOKENS,
    *(
        b"&a [*a]",
        b"&a {a: *a}",
        BOMB,
        b"!!python/object/apply:os.system [id]",
        b"2020-01-01",
        b"0x10",
        b".inf",
        b"1:20",
    ),
    *(b"!!binary aGk=", b"{[1]: 2}", b"{1: 2}", b"!!set {a}", b"{<<: 3}", b"*unknown", b"0o17", b"yes", b"~", b"|\n x"),
]


def damaged(content: bytes, suffix: str, generator: Random, others: Sequence[bytes]) -> tuple[str, bytes]:
    """Return what was done to the content of a file, and the content then, which differs.

    others : the contents of other files, of which pieces are taken
    """
    known, names, changed = FAMILIES.get(suffix, BYTES), list[str](), content
    while changed == content or generator.random() < 0.3:
        change = generator.choice(known if generator.random() < 0.6 else BYTES)
        try:
            changed = change(changed, generator, others)
        except (ValueError, IndexError, yaml.YAMLError, RecursionError, RuntimeError):
            continue  # an earlier change left nothing that this one could work on
        names.append(change.__name__)
    if changed.startswith(PNG) and generator.random() < 0.7:
        changed = with_right_sums(changed)
    return " + ".join(names), changed


# Bytes


def place(content: bytes, generator: Random) -> int:
    """Return a position, more often than not near the beginning, where headers are."""
    return generator.randrange(min(len(content), generator.choice([32, 200, len(content)])))


def flip_bit(content: bytes, generator: Random, _: Sequence[bytes]) -> bytes:
    """Turn one bit over."""
    at = place(content, generator)
    return content[:at] + bytes([content[at] ^ 1 << generator.randrange(8)]) + content[at + 1 :]


def replace_byte(content: bytes, generator: Random, _: Sequence[bytes]) -> bytes:
    """Replace one byte."""
    at = place(content, generator)
    return content[:at] + bytes([generator.choice([0, 1, 127, 128, 255, generator.randrange(256)])]) + content[at + 1 :]


def replace_word(content: bytes, generator: Random, _: Sequence[bytes]) -> bytes:
    """Replace four bytes by a number that lengths and counts should not have."""
    at, order = place(content, generator), generator.choice(["little", "big"])
    number = generator.choice([0, 1, 0x7FFFFFFF, 0x80000000, 0xFFFFFFFF, 0xFFFF, 0x10000, 40_000])
    return content[:at] + number.to_bytes(4, "little" if order == "little" else "big") + content[at + 4 :]


def piece(content: bytes, generator: Random) -> slice:
    """Return a part of the content."""
    at = place(content, generator)
    return slice(at, at + generator.choice([1, 2, 4, 16, 256, len(content)]))


def delete(content: bytes, generator: Random, _: Sequence[bytes]) -> bytes:
    """Leave a part out."""
    part = piece(content, generator)
    return content[: part.start] + content[part.stop :]


def double(content: bytes, generator: Random, _: Sequence[bytes]) -> bytes:
    """Repeat a part."""
    part = piece(content, generator)
    return content[: part.stop] + content[part] + content[part.stop :]


def swap(content: bytes, generator: Random, _: Sequence[bytes]) -> bytes:
    """Let two parts that follow each other change places."""
    part = piece(content, generator)
    end = part.stop + (part.stop - part.start)
    return content[: part.start] + content[part.stop : end] + content[part] + content[end:]


def insert_token(content: bytes, generator: Random, _: Sequence[bytes]) -> bytes:
    """Insert a token."""
    at = place(content, generator)
    return content[:at] + generator.choice(TOKENS) + content[at:]


def insert_of_other(content: bytes, generator: Random, others: Sequence[bytes]) -> bytes:
    """Insert a part of another file."""
    at, other = place(content, generator), generator.choice(others)
    return content[:at] + other[piece(other, generator)] + content[at:]


def keep_only_magic(content: bytes, generator: Random, others: Sequence[bytes]) -> bytes:
    """Keep the first bytes; another file's follow."""
    kept = generator.choice([2, 4, 8, 16, 64])
    return content[:kept] + generator.choice([b"", generator.randbytes(200), generator.choice(others)[kept:]])


def truncate(content: bytes, generator: Random, _: Sequence[bytes]) -> bytes:
    """Cut the end off."""
    return content[: generator.choice([0, place(content, generator), generator.randrange(len(content))])]


def replace_number(content: bytes, generator: Random, _: Sequence[bytes]) -> bytes:
    """Replace a number that is written in digits."""
    number = generator.choice(list(re.finditer(rb"-?\d+(\.\d+)?([eE][+-]?\d+)?", content[:100_000])))
    return content[: number.start()] + generator.choice(TOKENS) + content[number.end() :]


BYTES: list[Change] = [
    *(flip_bit, replace_byte, replace_word, delete, double, swap, insert_token, insert_of_other),
    *(keep_only_magic, truncate, replace_number),
]

# Tables


def change_table(content: bytes, generator: Random, _: Sequence[bytes]) -> bytes:
    """Change one row, column or cell of a CSV file."""
    rows = list(csv.reader(io.StringIO(content.decode())))
    change = generator.choice([double_row, drop_row, swap_rows, drop_column, rename_column, swap_columns, change_cell])
    change(rows, generator)
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerows(rows)
    return text.getvalue().encode()


def double_row(rows: list[list[str]], generator: Random) -> None:
    """Repeat a row."""
    rows.insert(generator.randrange(len(rows) + 1), generator.choice(rows))


def drop_row(rows: list[list[str]], generator: Random) -> None:
    """Leave a row out."""
    rows.pop(generator.randrange(len(rows)))


def swap_rows(rows: list[list[str]], generator: Random) -> None:
    """Let two rows change places."""
    one, two = generator.randrange(len(rows)), generator.randrange(len(rows))
    rows[one], rows[two] = rows[two], rows[one]


def drop_column(rows: list[list[str]], generator: Random) -> None:
    """Leave a column out."""
    at = generator.randrange(len(rows[0]))
    rows[:] = [row[:at] + row[at + 1 :] for row in rows]


def rename_column(rows: list[list[str]], generator: Random) -> None:
    """Give a column another name, or that of another one."""
    rows[0][generator.randrange(len(rows[0]))] = generator.choice(["x", "", *rows[0]])


def swap_columns(rows: list[list[str]], generator: Random) -> None:
    """Let the values of two columns change places."""
    one, two = generator.randrange(len(rows[0])), generator.randrange(len(rows[0]))
    for row in rows[generator.choice([0, 1]) :]:
        row[one], row[two] = row[two], row[one]


def change_cell(rows: list[list[str]], generator: Random) -> None:
    """Replace one value."""
    row = generator.choice(rows)
    row[generator.randrange(len(row))] = generator.choice(TOKENS).decode("latin1")


# Trees


def change_json(content: bytes, generator: Random, _: Sequence[bytes]) -> bytes:
    """Change one value or key of a JSON file."""
    tree = json.loads(content)
    return with_token(json.dumps(changed_tree(tree, generator)).encode(), generator.choice(JSON_TOKENS))


def change_yaml(content: bytes, generator: Random, _: Sequence[bytes]) -> bytes:
    """Change one value or key of a YAML file."""
    tree = yaml.safe_load(content)
    text = yaml.safe_dump(changed_tree(tree, generator), default_flow_style=generator.choice([None, True]))
    return with_token(text.encode(), generator.choice(YAML_TOKENS))


def with_token(text: bytes, token: bytes) -> bytes:
    """Return a dumped tree with `token` where `changed_tree` left a mark."""
    return re.sub(rb"""(["'])@@\1""", lambda _: token, text)


def changed_tree(tree: Any, generator: Random) -> Any:
    """Return a tree with a mark in place of a value, or with a key left out, renamed or added."""
    if not isinstance(tree, dict | list) or not tree or generator.random() < 0.03:
        return "@@"
    keys = list(tree) if isinstance(tree, dict) else list(range(len(tree)))
    key = generator.choice(keys)
    if isinstance(tree[key], dict | list) and generator.random() < 0.75:
        tree[key] = changed_tree(tree[key], generator)
    elif generator.random() < 0.6:
        tree[key] = "@@"
    elif isinstance(tree, list):
        tree.insert(key, "@@")
    else:
        value = tree.pop(key) if generator.random() < 0.8 else "@@"
        tree |= {generator.choice(["x", f"{key}s", "", "__class__", str(generator.choice(keys))]): value}
        tree.pop(generator.choice(list(tree)) if generator.random() < 0.4 else None, None)
    return tree


# States of networks, as torch saves them


def change_state(content: bytes, generator: Random, _: Sequence[bytes]) -> bytes:
    """Change one value or name in what torch saved."""
    try:
        state = torch.load(io.BytesIO(content), weights_only=True)
    except Exception as error:  # a damaged file may raise anything
        raise ValueError("no state") from error
    root: Any = {"all": state}
    part = root
    while True:
        key = generator.choice(list(part) if isinstance(part, dict) else range(len(part)))
        inner = part[key]
        if not isinstance(inner, dict | list) or not inner or generator.random() < 0.1:
            break
        part = inner
    if isinstance(part, dict) and part is not root and generator.random() < 0.3:
        value = part.pop(key)
        part |= {generator.choice(["x", key, *part]): value} if generator.random() < 0.5 else {}
    else:
        part[key] = generator.choice(OTHER_VALUES)(part[key])
    changed = io.BytesIO()
    torch.save(root["all"], changed)
    return changed.getvalue()


OTHER_VALUES: list[Callable[[Any], Any]] = [
    *(
        lambda _: None,
        lambda _: "x",
        lambda _: -1,
        lambda _: 1,
        lambda _: 10**9,
        lambda _: 1e30,
        lambda _: float("nan"),
    ),
    *(lambda _: [], lambda _: {}, lambda _: True, lambda _: torch.zeros(1).expand(10**9), lambda _: torch.zeros(0)),
    lambda value: value.half() if isinstance(value, torch.Tensor) else [value],
    lambda value: value[None] if isinstance(value, torch.Tensor) else (value,),
    lambda value: value * float("nan") if isinstance(value, torch.Tensor) else str(value),
    lambda value: value.flatten()[:-1] if isinstance(value, torch.Tensor) else {"x": value},
    lambda value: value.to("meta") if isinstance(value, torch.Tensor) else 0,
    lambda value: value.to_sparse() if isinstance(value, torch.Tensor) else value,
    lambda value: value + 1 if isinstance(value, torch.Tensor | int | float) else value,
]

# Images


def png_chunks(content: bytes) -> list[tuple[bytes, bytes]]:
    """Return name and content of each chunk of a PNG file."""
    chunks, at = [], len(PNG)
    while at + 12 <= len(content):
        length = int.from_bytes(content[at : at + 4], "big")
        chunks.append((content[at + 4 : at + 8], content[at + 8 : at + 8 + length]))
        at += 12 + length
    return chunks


def as_png(chunks: Sequence[tuple[bytes, bytes]]) -> bytes:
    """Return a PNG file of these chunks, each with its right checksum."""
    parts = [
        len(data).to_bytes(4, "big") + name + data + zlib.crc32(name + data).to_bytes(4, "big") for name, data in chunks
    ]
    return PNG + b"".join(parts)


def with_right_sums(content: bytes) -> bytes:
    """Return a PNG file with right checksums, so that more than its checksums is looked at."""
    return as_png(png_chunks(content))


def change_png(content: bytes, generator: Random, others: Sequence[bytes]) -> bytes:
    """Change one chunk of a PNG file, or add one."""
    chunks = png_chunks(content)
    at = generator.randrange(len(chunks))
    name, data = chunks[at]
    chunks[at : at + 1] = generator.choice(
        [
            [],
            [chunks[at]] * 2,
            [(name, generator.choice(BYTES)(data or b"x", generator, others))],
            [(generator.choice([b"PLTE", b"tRNS", b"IDAT", b"IEND", b"eXIf", b"acTL", b"fdAT", b"zzzz"]), data)],
            [(name, data), (generator.choice([b"zTXt", b"iCCP"]), b"name\x00\x00" + bomb())],
            [(name, data), (b"iTXt", b"name\x00\x01\x00\x00\x00" + bomb())],
        ]
    )
    return as_png(chunks)


@cache
def bomb() -> bytes:
    """Return a few bytes that are many when they are unpacked."""
    return zlib.compress(bytes(50_000_000))


def change_size(content: bytes, generator: Random, _: Sequence[bytes]) -> bytes:
    """Let the header of a PNG file say another width, height, depth or kind of colour."""
    (name, header), *chunks = png_chunks(content)
    fields = [int.from_bytes(header[:4], "big"), int.from_bytes(header[4:8], "big"), *header[8:13]]
    if generator.random() < 0.7:
        fields[generator.randrange(2)] = generator.choice([0, 1, 15, 17, 1000, 9000, 40_000, 2**31 - 1, 2**32 - 1])
        fields[generator.randrange(2)] = generator.choice([1, 16, 9000, 40_000])
    else:
        fields[generator.randrange(2, 7)] = generator.choice([0, 1, 2, 3, 4, 6, 8, 16, 255])
    sides = b"".join(side.to_bytes(4, "big") for side in fields[:2])
    return as_png([(name, sides + bytes(fields[2:])), *chunks])


FAMILIES: dict[str, list[Change]] = {
    ".csv": [change_table],
    ".json": [change_json],
    ".ipynb": [change_json],
    ".yaml": [change_yaml],
    ".pt": [change_state],
    ".npy": [replace_number],
    ".png": [change_png, change_size],
}
