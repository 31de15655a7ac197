"""Finds numbers that may identify a person, anywhere in a text: '+' and a phone number, cards, IBANs, national ids in
their written form, and phone numbers without '+' where their form or the word before them says what they are.

Only form and check digits are judged here; `adapters.dumps.sweep` passes each candidate to `domain.identifiers`.
"""

import numpy as np
from numba import njit

from kordant_jobs.adapters.kernels.machine import between_at, bits_set, equal_at, lowest_bit
from kordant_jobs.adapters.kernels.names import name_hash
from kordant_jobs.adapters.kernels.sweep import _has, words_table

PHONE, CARD, IBAN, NATIONAL_ID, GROUPED_PHONE, NAMED_PHONE = 1, 2, 3, 4, 5, 6
"""GROUPED_PHONE: a phone number without '+' in groups as it is dialled at home, `(212) 555-0143`; it is one only if its
groups are those of its country. NAMED_PHONE: digits after a word that says so, `cell: 2125550143`."""

_PHONE_TEXT = (
    "phone phones telephone cellphone smartphone mobilephone phonenumber phoneno tel cell cellular mobile mob ph gsm "
    "msisdn whatsapp sms call telefon telefone telefono teléfono telefoon telefonnummer handy celular móvil movil fone "
    "portable téléphone téléfone тел Тел телефон Телефон"
)
_PHONE_WORDS = words_table(_PHONE_TEXT.split())
_FILLER_TEXT = "number numbers no num nr is at me us on home work office personal primary my"
_FILLERS = words_table(_FILLER_TEXT.split())
"""Words that may stand between the word for a phone and its number: 'call me at', 'phone (home)'."""
_BETWEEN = np.zeros(256, np.bool_)
_BETWEEN[[ord(one) for one in " \t:=#.\"'>()-"]] = True
_JOINS = np.zeros(256, np.bool_)
_JOINS[[*(ord(one) for one in " -.()/"), 0xC2, 0xE2]] = True
"""The first bytes of what may stand between two groups of digits."""
_GAP_MAX, _WORD_MAX, _HOPS = 8, 24, 3

_ONE, _ZERO = np.uint64(1), np.uint64(0)


@njit(nogil=True, cache=True)
def _is_digit(byte):
    return 48 <= byte <= 57


@njit(nogil=True, cache=True)
def _is_word(byte):
    return 48 <= byte <= 57 or 65 <= (byte & 0xDF) <= 90 or byte == 95


@njit(nogil=True, cache=True)
def _gap(text, at):
    """The number of bytes of the blank or hyphen at `at`, including all Unicode widths; 0: there is none."""
    byte = text[at]
    if byte == 32 or byte == 45:
        return 1
    if byte == 0xC2:
        return 2 if text[at + 1] == 0xA0 else 0
    if byte == 0xE2 and text[at + 1] == 0x80:  # U+2007 to U+200B, U+2010 to U+2015, U+202F
        last = text[at + 2]
        return 3 if 0x87 <= last <= 0x8B or 0x90 <= last <= 0x95 or last == 0xAF else 0
    return 0


@njit(nogil=True, cache=True, forceinline=True)
def _phone_end(text, at):
    """The end of a phone number: '+' and 8 to 15 digits, perhaps in groups; of a longer number, the groups that fit. 0:
    none."""
    before = text[at - 1]
    if _is_word(before) or before == 43 or text[at + 1] == 48:
        return 0
    digits, end, gap, last, whole = 0, at + 1, 0, 0, 0
    while end - at < 48:
        byte = text[end]
        if _is_digit(byte):
            if gap and digits >= 8:
                whole = last
            digits += 1
            gap = 0
            last = end + 1
            if digits > 15:
                return whole
            end += 1
            continue
        size = _gap(text, end)
        if not size and (byte == 46 or byte == 40 or byte == 41 or (byte == 47 and digits < 8)):
            size = 1
        gap += 1
        if not size or gap > 2:
            break
        end += size
    if digits < 8:
        return 0
    return whole if _is_word(text[last]) else last


@njit(nogil=True, cache=True, forceinline=True)
def _card_end(text, at):
    """The end of a card number: 15 or 16 digits of a payment scheme, together or in its groups, with a valid check
    digit (Luhn). 0: none."""
    before = text[at - 1]
    if _is_word(before) or before == 46 or before == 45 or before == 43 or before == 47 or before == 37:
        return 0
    first = text[at] - 48
    second = text[at + 1] - 48
    size = 16
    if first == 3:
        if second != 4 and second != 7:
            return 0
        size = 15
    elif first == 5:
        if not 1 <= second <= 5:
            return 0
    elif first == 6:
        if second != 0 and second != 5 and second != 4:
            return 0
    elif first == 2:
        if not 2 <= second <= 7:
            return 0
    elif first != 4:
        return 0
    separator, total, digits, end = 0, 0, 0, at
    while digits < size:
        grouped = digits == 4 or (digits == 10 if size == 15 else digits % 4 == 0)
        if digits and grouped and (separator or digits == 4):
            width = _gap(text, end)
            if width:
                mark = text[end + width - 1]
                if separator and mark != separator:
                    return 0
                separator = mark
                end += width
            elif separator:
                return 0
        byte = text[end]
        if not _is_digit(byte):
            return 0
        value = byte - 48
        if (size - digits) % 2 == 0:
            value *= 2
            if value > 9:
                value -= 9
        total += value
        digits += 1
        end += 1
    after = text[end]
    if total % 10 or _is_word(after) or after == 45 or (after == 46 and _is_digit(text[end + 1])):
        return 0
    return end


@njit(nogil=True, cache=True)
def _iban_end(text, at, sizes):
    """The end of an IBAN: two letters, two digits and the country's number of letters and digits, perhaps in groups,
    with valid check digits (ISO 7064). 0: none."""
    if _is_word(text[at - 1]):
        return 0
    size = np.int64(sizes[(text[at] - 65) * 26 + text[at + 1] - 65])
    end, count, value, separator = at + 4, np.int64(4), np.int64(0), 0
    while count < size:
        width = _gap(text, end)
        if width:
            mark = text[end + width - 1]
            if separator and mark != separator:
                return 0
            separator = mark
            end += width
        byte = text[end]
        if _is_digit(byte):
            value = (value * 10 + byte - 48) % 97
        elif 65 <= byte <= 90:
            value = (value * 100 + byte - 55) % 97
        else:
            return 0
        count += 1
        end += 1
    if not size or _is_word(text[end]):
        return 0
    for letter in range(2):
        value = (value * 100 + text[at + letter] - 55) % 97
    return end if (value * 100 + (text[at + 2] - 48) * 10 + text[at + 3] - 48) % 97 == 1 else 0


@njit(nogil=True, cache=True, forceinline=True)
def _id_end(text, at):
    """The end of an SSN as ddd-dd-dddd or a CPF as ddd.ddd.ddd-dd, with blanks and hyphens of any kind. 0: none. An SSN
    with blanks between other digits belongs to a table of numbers."""
    before = text[at - 1]
    if _is_word(before) or before == 45 or before == 46 or before == 43 or before == 47:
        return 0
    if text[at + 3] == 32 and text[at + 6] != 32 and text[at + 7] != 32:  # most numbers of three digits in prose
        return 0
    end, digits, first = at + 3, 3, 0
    while digits < 11:
        width = 1 if text[end] == 46 else _gap(text, end)
        mark = text[end + width - 1]
        first = mark if digits == 3 else first
        if not width or (mark != first and digits < 9):
            return 0
        end += width
        size = 2 if digits == 9 else 3
        held = 0
        while held < size and _is_digit(text[end]):
            end += 1
            held += 1
        if digits == 3 and held == 2 and mark != 46:
            width = _gap(text, end)
            if not width or text[end + width - 1] != mark:
                return 0
            end += width
            for _ in range(4):
                if not _is_digit(text[end]):
                    return 0
                end += 1
            if mark == 32 and (
                (before == 32 and _is_digit(text[at - 2])) or (text[end] == 32 and _is_digit(text[end + 1]))
            ):
                return 0
            break
        if held < size:
            return 0
        digits += size
    after = text[end]
    return 0 if _is_word(after) or after == 45 or after == 46 or after == 47 else end


@njit(nogil=True, cache=True)
def _ends_alone(text, end):
    """True when a number that ends before `end` is not continued there."""
    after = text[end]
    return not (_is_word(after) or after == 45 or after == 47 or (after == 46 and _is_digit(text[end + 1])))


@njit(nogil=True, cache=True)
def _begins_alone(text, at):
    """True when a number that begins at `at` continues nothing; '1-' before it is a prefix."""
    before = text[at - 1]
    if (before == 45 or before == 46) and text[at - 2] == 49:
        before = text[at - 3]
    return not (_is_word(before) or before in (37, 40, 41, 43, 45, 46, 47))


@njit(nogil=True, cache=True, forceinline=True)
def _three_three_four(text, at):
    """The end of a number such as 212-555-0143 or 212.555.0143. 0: none."""
    if text[at] < 50 or not _begins_alone(text, at):
        return 0
    end, mark = at, 0
    for size in (3, 3, 4):
        if end > at:
            width = 1 if text[end] == 46 else _gap(text, end)
            if not width or text[end] == 32 or (mark and text[end + width - 1] != mark):
                return 0
            mark = text[end + width - 1]
            end += width
        for _ in range(size):
            if not _is_digit(text[end]):
                return 0
            end += 1
    return end if _ends_alone(text, end) else 0


@njit(nogil=True, cache=True, forceinline=True)
def _bracket_end(text, at):
    """The end of a number that begins with its area code in brackets, `(212) 555-0143`, `(11) 96123-4567`. 0: none."""
    end = at + 1
    while end - at < 6 and _is_digit(text[end]):
        end += 1
    digits = end - at - 1
    if text[end] != 41 or digits < 2 or not _begins_alone(text, at):
        return 0
    end += 1
    groups, last = 0, end
    while groups < 4 and digits < 11:
        width = _gap(text, end)
        if not width and (text[end] == 46 or (groups and text[end] == 47)):
            width = 1
        if groups and not width:
            break
        start = end + width
        end = start
        while end - start < 6 and _is_digit(text[end]):
            end += 1
        if end - start < 2:
            break
        digits += end - start
        groups += 1
        last = end
    return last if groups >= 2 and 9 <= digits <= 11 and _ends_alone(text, last) else 0


@njit(nogil=True, cache=True)
def _says_phone(text, start, end):
    """True when a word, or a part of one such as `contact_phone` or `PhoneHome2`, is a word for a phone."""
    begin = start
    while begin < end:
        while begin < end and (48 <= text[begin] <= 57 or text[begin] == 95):
            begin += 1
        stop = begin
        while stop < end and not (48 <= text[stop] <= 57 or text[stop] == 95):
            stop += 1
            if stop < end and 65 <= text[stop] <= 90 and 97 <= text[stop - 1] <= 122:
                break
        if stop > begin and _has(_PHONE_WORDS, name_hash(text, begin, stop)):
            return True
        begin = max(stop, begin + 1)
    return _has(_PHONE_WORDS, name_hash(text, start, end))


@njit(nogil=True, cache=True)
def _is_named(text, at):
    """True when the word before `at`, on the same line, is one for a phone: 'Phone: ', 'call me at ', '<tel>'."""
    for _ in range(_HOPS):
        stop = at
        while at > stop - _GAP_MAX and _BETWEEN[text[at - 1]]:
            at -= 1
        end = at
        while at > end - _WORD_MAX and (_is_word(text[at - 1]) or text[at - 1] >= 128):
            at -= 1
        if at == end or stop == end:
            return False
        if _says_phone(text, at, end):
            return True
        if not _has(_FILLERS, name_hash(text, at, end)):
            return False
    return False


@njit(nogil=True, cache=True)
def _named_end(text, at):
    """The end of a phone number without '+' after a word for one. 0: none."""
    before = text[at - 1]
    if not _BETWEEN[before] or before == 40 or (before == 46 and _is_digit(text[at - 2])):
        return 0
    digits, end, last, gap = 0, at, at, 0
    while end - at < 40:
        byte = text[end]
        if _is_digit(byte):
            digits += 1
            gap = 0
            end += 1
            last = end
            continue
        width = _gap(text, end)
        if not width and (byte == 46 or byte == 40 or byte == 41 or byte == 47):
            width = 1
        gap += 1
        if not width or gap > 2:
            break
        end += width
    if not 8 <= digits <= 16 or _is_word(text[last]):
        return 0
    return last if _is_named(text, at) else 0


@njit(nogil=True, cache=True)
def find_numbers(text, start, size, line, sizes, starts, ends, numbers, kinds):
    """Finds the numbers in a text from `start` on. Returns the number of spans, the line where it stopped, and the
    place.

    `sizes` has the length of an IBAN by its two letters (26 each). It stops early when the arrays have room for fewer
    than 64 more.
    """
    at, stop, found, room, plus_end = start, start + size, 0, len(starts) - 64, start
    while at < stop:
        newline = equal_at(text, at, np.uint8(10))
        digit = between_at(text, at, np.uint8(48), np.uint8(10))
        after = between_at(text, at + 1, np.uint8(48), np.uint8(10))
        plus = equal_at(text, at, np.uint8(43)) & (after | equal_at(text, at + 1, np.uint8(40)))
        candidates = plus
        if digit != _ZERO:
            second = between_at(text, at + 2, np.uint8(48), np.uint8(10))
            third = between_at(text, at + 3, np.uint8(48), np.uint8(10))
            begins = digit & ~between_at(text, at - 1, np.uint8(48), np.uint8(10)) & after & second
            if begins != _ZERO:  # a letter before it: part of a word
                begins &= ~between_at(text, at - 1, np.uint8(97), np.uint8(26))
                begins &= ~between_at(text, at - 1, np.uint8(65), np.uint8(26))
            upper = between_at(text, at, np.uint8(65), np.uint8(26)) & between_at(
                text, at + 1, np.uint8(65), np.uint8(26)
            )
            bracket = equal_at(text, at, np.uint8(40)) & after
            candidates |= begins | bracket | (upper & second & third)
        else:
            upper = between_at(text, at, np.uint8(65), np.uint8(26)) & between_at(
                text, at + 1, np.uint8(65), np.uint8(26)
            )
            upper &= between_at(text, at + 2, np.uint8(48), np.uint8(10))
            candidates |= equal_at(text, at, np.uint8(40)) & after
            candidates |= upper & between_at(text, at + 3, np.uint8(48), np.uint8(10))
        if stop - at < 64:
            within = (_ONE << np.uint64(stop - at)) - _ONE
            newline, candidates = newline & within, candidates & within
        while candidates != _ZERO:
            place = lowest_bit(candidates)
            candidates &= candidates - _ONE
            where = at + place
            byte = text[where]
            if byte < 65:  # fewer than eight digits that nothing continues
                run = lowest_bit(~(digit >> np.uint64(place)))
                if 0 < run < 8 and place + run < 64 and not _JOINS[text[where + run]]:
                    continue
            if byte == 43:
                kind, end = PHONE, _phone_end(text, where)
                plus_end = max(plus_end, end, where + 1)
            elif byte >= 65:
                kind, end = IBAN, _iban_end(text, where, sizes)
            elif byte == 40:
                kind, end = GROUPED_PHONE, _bracket_end(text, where) if where >= plus_end else 0
                plus_end = max(plus_end, end)
            elif _is_digit(text[where + 3]):
                kind, end = CARD, _card_end(text, where) if 50 <= byte <= 54 else 0
            else:
                kind, end = NATIONAL_ID, _id_end(text, where)
                if not end and where >= plus_end:
                    kind, end = GROUPED_PHONE, _three_three_four(text, where)
            if not end and byte < 65 and where >= plus_end:
                kind, end = NAMED_PHONE, _named_end(text, where)
            if end:
                below = (_ONE << np.uint64(place)) - _ONE
                starts[found], ends[found], kinds[found] = where, end, kind
                numbers[found] = line + bits_set(newline & below)
                found += 1
        line += bits_set(newline)
        at += 64
        if found >= room:
            break
    return found, line, min(at, stop)


@njit(nogil=True, cache=True)
def american(text, starts, ends, at_home, allotted, national):
    """The ten digits of each number of the United States, in groups of three, three and four or without any; others
    stay as they are. One without '+1' is one only `at_home`. `allotted`: by its first four digits."""
    for span in range(len(starts)):
        plus = text[starts[span]] == 43
        value, digits, first, last, good = np.int64(0), 0, 0, starts[span], True
        for at in range(starts[span], ends[span]):
            if not _is_digit(text[at]):
                continue
            value = value * 10 + text[at] - 48
            if digits == 0 and (plus or text[at] == 49):  # the country code, or the prefix of long-distance calls
                first, value = 1, text[at] - 49
            elif digits - first not in (0, 3, 6) and last + 1 != at:
                good = False
            digits += 1
            last = at
            if digits == 11:
                good &= first == 1
        is_whole = good and digits == 10 + first and 0 <= value < 10_000_000_000  # else: another country's code
        if is_whole and (plus or at_home) and allotted[value // 1_000_000]:
            national[span] = value
