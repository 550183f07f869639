"""Text and binary tables of word vectors to numpy, at the speed of the memory that they lie in."""

from __future__ import annotations

import numpy as np

from clew.compiled import njit

SPACE, TAB, LINE, RETURN = 32, 9, 10, 13
POWERS = np.array([float(f"1e{k}") for k in range(309)])  # read, not computed: each is the nearest double
ENOUGH = np.uint64(10**17)  # a mantissa past this needs no more digits
LARGEST = float(np.finfo(np.float32).max)


@njit(cache=True, error_model="numpy", inline="always")
def number(text: np.ndarray, at: int) -> tuple[float, int]:
    """Read a decimal number at text[at:]; return it and the position after it, -1 where there is none."""
    size = len(text)
    negative = at < size and text[at] == 45
    if negative or (at < size and text[at] == 43):
        at += 1
    mantissa, exponent, first = np.uint64(0), 0, at
    while at < size and 48 <= text[at] <= 57:
        if mantissa < ENOUGH:
            mantissa = mantissa * np.uint64(10) + np.uint64(text[at] - 48)
        else:
            exponent += 1
        at += 1
    digits = at - first
    if at < size and text[at] == 46:
        at += 1
        first = at
        while at < size and 48 <= text[at] <= 57:
            if mantissa < ENOUGH:
                mantissa = mantissa * np.uint64(10) + np.uint64(text[at] - 48)
                exponent -= 1
            at += 1
        digits += at - first
    if digits == 0:
        return 0.0, -1
    if at < size and (text[at] == 101 or text[at] == 69):
        at += 1
        down = at < size and text[at] == 45
        if down or (at < size and text[at] == 43):
            at += 1
        first, power = at, 0
        while at < size and 48 <= text[at] <= 57:
            power = min(power * 10 + (text[at] - 48), 9999)
            at += 1
        if at == first:
            return 0.0, -1
        exponent += -power if down else power
    if at < size and text[at] != SPACE and text[at] != LINE and text[at] != TAB and text[at] != RETURN:
        return 0.0, -1
    value = float(mantissa)
    if exponent > 0:
        value = value * POWERS[min(exponent, 308)]
    elif exponent < 0:
        value = value / POWERS[min(-exponent, 308)]
    if not value <= LARGEST:
        return 0.0, -1
    return (-value if negative else value), at


@njit(cache=True, error_model="numpy")
def blank(text: np.ndarray, at: int) -> int:
    """The position after spaces, tabs and carriage returns."""
    while at < len(text) and (text[at] == SPACE or text[at] == TAB or text[at] == RETURN):
        at += 1
    return at


@njit(cache=True, error_model="numpy")
def numbers(text: np.ndarray, at: int, row: np.ndarray) -> int:
    """Fill `row` from text[at:]; return the position of the line's end, -1 unless just these numbers lead there."""
    for j in range(len(row)):
        value, at = number(text, blank(text, at))
        if at < 0:
            return -1
        row[j] = value
    at = blank(text, at)
    return at if at == len(text) or text[at] == LINE else -1


@njit(cache=True, error_model="numpy")
def before_last(text: np.ndarray, line: int, fields: int) -> int:
    """The position before the last `fields` fields of the line; `line` itself where there are no more."""
    at = line
    while at < len(text) and text[at] != LINE:
        at += 1
    for _ in range(fields):
        while at > line and text[at - 1] <= SPACE:
            at -= 1
        while at > line and text[at - 1] > SPACE:
            at -= 1
    while at > line and text[at - 1] <= SPACE:
        at -= 1
    return at


@njit(cache=True, error_model="numpy")
def text_rows(text: np.ndarray, at: int, spans: np.ndarray, matrix: np.ndarray) -> tuple[int, int]:
    """Read lines "word number … number" from text[at:], uint8, into `matrix` (rows, d) and `spans` (rows, 2).

    spans[i] are the bounds of word i in `text`. A word may hold spaces (GloVe's ". . ."), unless a number stands before
    the last d: then the line is too long. Returns the rows read and the position of the first line that is not one
    (len(text) where all are). The value is the nearest double rounded to float32.
    """
    row = 0
    while at < len(text):
        if text[at] == LINE or text[at] == RETURN:
            at += 1
            continue
        if row == len(matrix):
            return row, at
        line = at
        while at < len(text) and text[at] != SPACE and text[at] != TAB and text[at] != LINE:
            at += 1
        end = numbers(text, at, matrix[row])
        if end < 0:
            at = before_last(text, line, matrix.shape[1])
            last = before_last(text, line, matrix.shape[1] + 1)
            if number(text, blank(text, last))[1] >= 0:
                return row, line
            end = numbers(text, at, matrix[row])
        if end < 0 or at == line:
            return row, line
        spans[row, 0], spans[row, 1] = line, at
        row += 1
        at = end
    return row, at


@njit(cache=True, error_model="numpy")
def binary_rows(data: np.ndarray, at: int, spans: np.ndarray, matrix: np.ndarray) -> tuple[int, int]:
    """Read rows "word SPACE d little-endian floats" from data[at:] into `matrix`, uint8 (rows, 4·d), and `spans`.

    A line end before the word is skipped: word2vec.c writes one after each row, gensim does not. Returns the rows
    read and the position of the first row that is cut short or has no word (the position after the last row otherwise).
    """
    width = matrix.shape[1]
    for row in range(len(matrix)):
        begin = at
        while at < len(data) and data[at] == LINE:
            at += 1
        word = at
        while at < len(data) and data[at] != SPACE:
            at += 1
        if at == word or at + 1 + width > len(data):
            return row, begin
        spans[row, 0], spans[row, 1] = word, at
        matrix[row] = data[at + 1 : at + 1 + width]
        at += 1 + width
    return len(matrix), at


@njit(cache=True, error_model="numpy")
def dictionary_entries(
    data: np.ndarray, at: int, spans: np.ndarray, counts: np.ndarray, kinds: np.ndarray
) -> tuple[int, int]:
    """Read entries "word NUL int64 count, int8 kind" of a fastText dictionary from data[at:], uint8, little-endian.

    Fills spans (n, 2), counts (n,) and kinds (n,). Returns the entries read and the position of the first that is cut
    short (the position after the last otherwise).
    """
    for entry in range(len(counts)):
        begin = at
        while at < len(data) and data[at] != 0:
            at += 1
        if at + 10 > len(data):
            return entry, begin
        spans[entry, 0], spans[entry, 1] = begin, at
        count = np.uint64(0)
        for byte in range(8):
            count |= np.uint64(data[at + 1 + byte]) << np.uint64(8 * byte)
        counts[entry] = count
        kinds[entry] = data[at + 9]
        at += 10
    return len(counts), at
