"""The invented people of the sample history: names, addresses and the fixed time zone each one commits in."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta, timezone


@dataclass(frozen=True, slots=True, kw_only=True)
class Person:
    """Somebody who commits. `offset_minutes` is the zone, the same all year round."""

    name: str
    email: str
    login: str
    offset_minutes: int = 0

    def signature(self, at: str) -> bytes:
        """`Name <mail> seconds zone` for a local time such as `2021-03-04T10:12`, as Git writes it."""
        zone = timezone(timedelta(minutes=self.offset_minutes))
        seconds = int(datetime.fromisoformat(at).replace(tzinfo=zone).timestamp())
        sign = "-" if self.offset_minutes < 0 else "+"
        hours, minutes = divmod(abs(self.offset_minutes), 60)
        return f"{self.name} <{self.email}> {seconds} {sign}{hours:02d}{minutes:02d}".encode()

    def as_web(self) -> Person:
        """Who stands as committer when this person lands a change with the web button."""
        return Person(name="GitHub", email="noreply@github.com", login="web-flow", offset_minutes=self.offset_minutes)


PEOPLE = {
    "maren": Person(name="Maren Oyelaran", email="maren@tidemark.example", login="marenoy", offset_minutes=60),
    "tomas": Person(name="Tomás Ferreira-Lund", email="tomas@tidemark.example", login="tflund"),
    "casper": Person(name="Casper Whitlock", email="cw@whitlock.example", login="cwhitlock", offset_minutes=-300),
    "ewa": Person(name="Ewa Brzęska", email="ewa.brz@poczta.example", login="ewabrz", offset_minutes=60),
    "priya": Person(name="Priya Nakod", email="priya@nakod.example", login="pnakod", offset_minutes=330),
    "rowan": Person(name="Rowan Achterveld", email="rowan.av@post.example", login="rowanav", offset_minutes=120),
    "jiho": Person(name="Jiho Vantong", email="jiho@vantong.example", login="jvantong", offset_minutes=540),
    "bot": Person(name="dependabot[bot]", email="dependabot[bot]@users.example", login="dependabot"),
}
"""Everybody, by the short name the chapters use."""
