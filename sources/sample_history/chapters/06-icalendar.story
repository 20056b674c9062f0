%% pr 25 squash ics-reader
%% landed 2021-08-03T13:00 tomas
%% title Read iCalendar events
%% commit 2021-08-01T18:18 rowan
Read iCalendar events

Only what `write_event` writes, and parameters are ignored: enough to import
the shift plan.

%% edit tidemark/ics.py
<<<<
LIMIT = 75
====
from datetime import datetime

LIMIT = 75
>>>>
%% append tidemark/ics.py
def unescape(text):
    """Inverse of ``escape``."""
    for escaped, plain in (("\\n", "\n"), ("\\;", ";"), ("\\,", ","), ("\\\\", "\\")):
        text = text.replace(escaped, plain)
    return text


def read_events(text):
    """Yield each event as a dict of its properties."""
    event = None
    for line in text.replace("\r\n ", "").split("\r\n"):
        name, _, value = line.partition(":")
        name = name.partition(";")[0]
        if line == "BEGIN:VEVENT":
            event = {}
        elif line == "END:VEVENT":
            yield event
            event = None
        elif event is not None:
            if name.startswith("DT"):
                event[name] = datetime.strptime(value, "%Y%m%dT%H%M%S")
            else:
                event[name] = unescape(value)

%% edit tests/test_ics.py
<<<<
from tidemark.ics import escape, fold, write_event
====
from tidemark.ics import escape, fold, read_events, unescape, write_event
>>>>
%% append tests/test_ics.py
def test_round_trip():
    start, end = datetime(2021, 8, 2, 9), datetime(2021, 8, 2, 17)
    summary = "Early shift; desk 4, " + "bring your own keys " * 5
    (event,) = read_events(write_event("7@tidemark", start, end, summary))
    assert event == {"UID": "7@tidemark", "DTSTART": start, "DTEND": end, "SUMMARY": summary}


def test_unescape():
    assert unescape("a\\, b\\; c\\nd") == "a, b; c\nd"

%% file tests/data/shift.ics crlf
BEGIN:VCALENDAR
VERSION:2.0
BEGIN:VEVENT
UID:shift-31@depot
DTSTART;TZID=Europe/Lisbon:20210803T060000
DTEND;TZID=Europe/Lisbon:20210803T140000
SUMMARY:Early shift\, gate 2
END:VEVENT
END:VCALENDAR

%% append tests/test_ics.py
def test_read_a_file_of_another_program():
    text = (Path(__file__).parent / "data" / "shift.ics").read_bytes().decode()
    (event,) = read_events(text)
    assert event["SUMMARY"] == "Early shift, gate 2"
    assert event["DTSTART"] == datetime(2021, 8, 3, 6)

%% edit tests/test_ics.py
<<<<
from datetime import datetime
====
from datetime import datetime
from pathlib import Path
>>>>

%% pr 26 squash fold-octets
%% landed 2021-08-24T17:20 tomas
%% title Fold long lines by octets
%% link fix_of 21 explicit_mention tests
%% commit 2021-08-23T09:29 ewa
Fold long lines by octets

Fixes folding of lines with other than ASCII letters: #21 counted characters
where the format counts octets, and a summary full of `ą` came out with
lines of 150 octets, which the phone rejects.

%% edit tidemark/ics.py
<<<<
    parts = [line[:LIMIT]]
    rest = line[LIMIT:]
    while rest:
        parts.append(" " + rest[: LIMIT - 1])
        rest = rest[LIMIT - 1 :]
    return "\r\n".join(parts)
====
    octets = line.encode()
    parts = [octets[:LIMIT]]
    for start in range(LIMIT, len(octets), LIMIT - 1):
        parts.append(octets[start : start + LIMIT - 1])
    return "\r\n ".join(part.decode(errors="replace") for part in parts)
>>>>
%% append tests/test_ics.py
def test_folding_counts_octets():
    lines = fold("SUMMARY:" + "ą" * 60).split("\r\n")
    assert len(lines) == 2

%% pr 27 squash holidays-utf8
%% landed 2021-09-02T10:09 tomas
%% title Read holiday files as UTF-8 everywhere
%% link fix_of 19 szz_only tests
%% commit 2021-09-01T12:40 ewa
Read holiday files as UTF-8 everywhere

On Windows they were read in the machine's code page. Also fix the file that
an editor saved with a byte order mark, whose first date was then invalid.

%% edit tidemark/holidays.py
<<<<
    with open(path) as file:
        return parse_holidays(file.read())
====
    with open(path, encoding="utf-8-sig") as file:
        return parse_holidays(file.read())
>>>>
%% append tests/test_holidays.py
def test_byte_order_mark_is_no_part_of_the_date(tmp_path):
    path = tmp_path / "days.txt"
    path.write_bytes("\ufeff2021-05-03 Święto Konstytucji\n".encode())
    assert load_holidays(path) == {date(2021, 5, 3): "Święto Konstytucji"}

%% file data/holidays/pt.txt
# Feriados nacionais
2021-01-01 Ano Novo
2021-04-02 Sexta-feira Santa
2021-04-25 Dia da Liberdade
2021-06-10 Dia de Portugal, de Camões e das Comunidades
2021-10-05 Implantação da República
2021-12-08 Imaculada Conceição

%% pr 29 squash whole-characters
%% landed 2021-09-09T16:51 tomas
%% title Never fold inside a character
%% link regression_fix 26 explicit_mention tests regression
%% commit 2021-09-09T10:05 ewa
Never fold inside a character

Fixes a regression from #26: where the limit fell between the two octets of
a letter, both lines got a replacement character and the letter was lost.
Move the cut back to where a character begins.

%% edit tidemark/ics.py
<<<<
    parts = [octets[:LIMIT]]
    for start in range(LIMIT, len(octets), LIMIT - 1):
        parts.append(octets[start : start + LIMIT - 1])
    return "\r\n ".join(part.decode(errors="replace") for part in parts)
====
    parts, room = [], LIMIT
    while octets:
        cut = min(room, len(octets))
        while cut < len(octets) and octets[cut] & 0xC0 == 0x80:
            cut -= 1
        parts.append(octets[:cut].decode())
        octets, room = octets[cut:], LIMIT - 1
    return "\r\n ".join(parts)
>>>>
%% append tests/test_ics.py
def test_folding_keeps_characters_whole():
    line = "SUMMARY:x" + "ą€" * 60
    assert fold(line).replace("\r\n ", "") == line


def test_no_line_is_too_long():
    lines = fold("SUMMARY:x" + "ą€" * 60).split("\r\n")
    assert all(60 < len(line.encode()) <= 75 for line in lines[:-1])

%% pr 28 closed until-datetime base=27
%% landed 2021-09-20T09:00 maren
%% title Allow datetimes in Rule.until
%% commit 2021-09-05T14:47 rowan
Allow datetimes in Rule.until

%% edit tidemark/recurrence.py
<<<<
            if self.until is not None and current >= self.until:
                return
====
            until = self.until.date() if isinstance(self.until, datetime) else self.until
            if until is not None and current >= until:
                return
>>>>
<<<<
from datetime import date, timedelta
====
from datetime import date, datetime, timedelta
>>>>
