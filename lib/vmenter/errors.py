"""The errors of the library: one family, so that one `except` is enough for any bad input."""


class LabError(ValueError):
    """Bad input. The message says what is wrong, where, and what to do about it, in one line."""


class AssemblyError(LabError):
    """The assembler refused a text.

    `line` and `column` count from 1 within the text that was given; `column` is None where the
    assembler names none, and both are None for a failure that belongs to no line (a time limit, say).
    """

    def __init__(self, message: str, line: int | None = None, column: int | None = None) -> None:
        self.message, self.line, self.column = message, line, column
        place = "" if line is None else f"line {line}" + ("" if column is None else f", column {column}")
        super().__init__(f"{place}: {message}" if place else message)
