"""Byte sequences that are instructions, of every opcode, prefix and form: what decoders are asked about."""

from random import Random

from vmenter.code.lengths import Decoder, length

PREFIXES = bytes.fromhex("262e363e64656667f0f2f3")

# NOPs of every kind, and what only looks like one.
NOPS = tuple(
    map(
        bytes.fromhex,
        [
            "90",
            "6690",
            "0f1f00",
            "0f1f4000",
            "0f1f440000",
            "660f1f440000",
            "0f1f8000000000",
            "662e0f1f840000000000",
            "f390",
            "f290",
            "66f390",
            "f36690",
            "4890",
            "4190",
            "4f90",
            "f34090",
            "2e90",
            "3e90",
            "669090",
            "9090",
            "0f1fc0",
            "0f1fc8",
            "0f1fd8",
            "660f1fc0",
            "0f18c0",
            "f2660f1f00",
            "f30f1f00",
            "4889c0",
            "4889db",
            "4d89ff",
            "4989c8",
            "4889e4",
            "488be4",
            "488bc0",
            "6689c0",
            "89c0",
            "4087c0",
            "488d00",
            "488d4000",
            "488d8000000000",
            "488d642400",
            "488d2424",
            "4d8d6d00",
            "4d8d36",
            "4c8d7600",
            "3e488d642400",
            "64488d642400",
            "66488d7600",
            "674d8d7600",
            "488d6d00",
            "488d4500",
            "498d4500",
            "498d6500",
            "498d642400",
            "4d8d642400",
            "4c8d642400",
            "488d6c2500",
            "eb00",
            "e900000000",
            "2eeb00",
            "c5f890c0",
            "d50090",
            "d51090",
            "d5801f00",
        ],
    )
)


def instruction(random: Random, tables: Decoder) -> bytes:
    """Return an instruction by these tables."""
    while True:
        code = sequence(random)
        if size := length(code, tables):
            return code[:size]


def sequence(random: Random) -> bytes:
    """Return 15 bytes that may begin with an instruction."""
    code = bytearray()
    if random.random() < 0.4:
        code += bytes(random.choices(PREFIXES, k=random.choice((1, 1, 2, 3, 6))))
    if random.random() < 0.3:
        code.append(0x40 | random.randrange(16))
    kind = random.random()
    if kind < 0.3:
        code.append(random.randrange(256))
    elif kind < 0.55:
        code += bytes((0x0F, random.randrange(256)))
    elif kind < 0.65:
        code += bytes((0x0F, random.choice((0x38, 0x3A)), random.randrange(256)))
    elif kind < 0.73:
        code.append(0xC5)
    elif kind < 0.81:
        code += bytes((0xC4, random.randrange(1, 12) | random.randrange(8) << 5))
    elif kind < 0.89:
        code += bytes((0x62, random.randrange(8) | random.randrange(16) << 4))
    elif kind < 0.93:
        code += bytes((0x8F, random.randrange(12) | random.randrange(8) << 5))
    elif kind < 0.97:
        code.append(0xD5)
    return (bytes(code) + random.randbytes(20))[:15]
