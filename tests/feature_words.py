"""A kernel's words of features, made from numbers: the way back from what the library reads."""


def to_words(numbers, count):
    """Return `count` 32-bit words with these bits set."""
    words = [0] * count
    for number in numbers:
        words[number // 32] |= 1 << number % 32
    return tuple(words)
