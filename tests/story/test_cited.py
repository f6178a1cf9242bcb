"""What is said of a commit or a mail, wherever it is said, is what the table of sources says."""

import datetime as dt
import re
from difflib import get_close_matches

import prose
import pytest

from vmenter.story.cited import COMMITS, MAILS
from vmenter.story.history import BACKPORT, FORMS, SVM

CITED = {**COMMITS, **MAILS}
CLAUSES = [clause for clause in prose.clauses() if clause.refs]
ALL_ERAS = (*FORMS.values(), SVM)
PEOPLE = {name for one in CITED.values() for name in (*one.people, *one.others)}


def short(name):
    """Return a name as prose has it: P. Gupta."""
    first, last = name.split()
    return f"{first[0]}. {last}"


def people(clause):
    """Return the people whom a clause names, in the short form; a name that is nearly one of theirs, too."""
    surnames = {name.split()[1] for name in PEOPLE}
    found = {(match[1] or match[3], match[2] or match[4]) for match in prose.PERSON.finditer(clause.text)}
    return {f"{first}. {last}" for first, last in found if get_close_matches(last, surnames, 1, 0.7)}


def wrong_people(clause):
    """Return who is named beside sources none of which is theirs."""
    return people(clause) - {
        short(name) for ref in clause.refs for name in (*CITED[ref].people, *CITED[ref].others)
    }


def wrong_days(clause):
    """Return the days and months that none of the sources beside them has."""
    dates = {day for ref in clause.refs for _, day in CITED[ref].dates}
    for day, month, year in prose.DAY.findall(clause.text):
        number = f"{prose.MONTHS.index(month) + 1:02}"
        asked = re.compile(rf"{year or '....'}-{number}" + (f"-{int(day):02}" if day else ""))
        if (year or day) and not any(asked.match(one) for one in dates):
            yield " ".join(filter(None, (day, month, year)))


def wrong_releases(clause):
    """Return releases that stand right behind or before a commit and are not its first."""
    for match in re.finditer(
        rf"({prose.HASH.pattern}) ?[(,] ?(v\d+\.\d+)|(v\d+\.\d+)(?: on)? \((?:commit )?({prose.HASH.pattern})",
        clause.text,
    ):
        ref, said = match[1] or match[4], match[2] or match[3]
        if COMMITS[ref].release != said:
            yield f"{ref} {said}"


def test_every_commit_and_every_mail_that_is_named_is_in_the_table():
    named = {ref: clause.place for clause in CLAUSES for ref in clause.refs}
    named |= {one.ref: f"era {era.id}" for era in ALL_ERAS for one in era.sources if one.kind != "file"}
    assert {ref: place for ref, place in named.items() if ref not in CITED} == {}
    assert len(named) > 40
    unused = CITED.keys() - named.keys()
    assert not unused, "nobody speaks of these"


def test_a_link_leads_where_it_says():
    links = [(place, match) for place, text in prose.texts() for match in prose.LINK.finditer(text)]
    assert len(links) > 50
    for place, match in links:
        assert match[1] == match[2], place


def test_a_day_that_stands_alone_is_a_day_of_the_table():
    known = {day for one in CITED.values() for _, day in one.dates}
    known |= {day for era in ALL_ERAS for day in (era.date, *(day for _, day in era.later))}
    told = {
        f"{year}-{prose.MONTHS.index(month) + 1:02}-{int(day):02}": clause.place
        for clause in prose.clauses()
        for day, month, year in prose.DAY.findall(clause.text)
        if day and year
    }
    assert len(told) > 5
    assert {day: place for day, place in told.items() if day not in known} == {}


@pytest.mark.parametrize("look", [wrong_people, wrong_days, wrong_releases])
def test_prose_says_of_a_source_what_the_table_says(look):
    found = {f"{clause.place}: {clause.text}": [*look(clause)] for clause in CLAUSES}
    assert {text: wrong for text, wrong in found.items() if wrong} == {}


def test_a_wrong_word_in_prose_is_found():
    said = prose.Clause("here", "650b68a0622f (v5.2), T. Gleixner, public on 14 May 2019")
    assert [*wrong_people(said), *wrong_days(said), *wrong_releases(said)] == []
    for look, old, new in (
        (wrong_people, "T. Gleixner", "P. Gupta"),
        (wrong_people, "T. Gleixner", "T. Gleisner"),
        (wrong_days, "14 May", "15 May"),
        (wrong_days, "2019", "2018"),
        (wrong_releases, "v5.2", "v5.1"),
    ):
        changed = said._replace(text=said.text.replace(old, new))
        assert [*look(changed)], new


def test_enough_of_the_prose_is_looked_at():
    """Of what the rules above look for, there is something in many places."""
    assert sum(bool(people(clause)) for clause in CLAUSES) >= 20
    assert sum(bool(prose.DAY.search(clause.text)) for clause in CLAUSES) >= 13
    assert sum(bool(re.search(r"v\d+\.\d+", clause.text)) for clause in CLAUSES) >= 15


OURS = "The VM-Enter Lab authors"  # a form of our own is cited nowhere


@pytest.mark.parametrize("era", [era for era in ALL_ERAS if era.author != OURS], ids=lambda era: era.id)
def test_an_era_says_of_its_commit_or_mail_what_the_table_says(era):
    first = CITED[era.commit or era.sources[0].ref]
    assert set(era.author.split(", ")) == {*first.people, *first.others} - (
        {"Pawan Gupta"} if era.id == "v4" else set()
    )
    assert era.release == (first.release or "list only") or era is BACKPORT
    days = first.dates if era is not BACKPORT else MAILS[era.sources[0].ref].dates
    assert era.date in {day for _, day in days}


def test_what_an_era_says_of_its_sources_names_their_people():
    for era in ALL_ERAS:
        for source in era.sources:
            named = {name for name in PEOPLE if name in source.what}
            if source.kind != "file":
                assert named <= {*CITED[source.ref].people, *CITED[source.ref].others}, (era.id, source)


# Whose machine a mail comes from, as its id tells: a source of its own for who wrote it.
HOSTS = {
    "seanjc@google.com": "Sean Christopherson",
    "@desk": "Pawan Gupta",
    "@linux.intel.com": "Pawan Gupta",
    "@fat_crate.local": "Borislav Petkov",
    "@noisy.programming.kicks-ass.net": "Peter Zijlstra",
    "@treble": "Josh Poimboeuf",
}


def test_what_an_id_itself_tells_of_its_writer_and_its_day_agrees():
    for ref, mail in MAILS.items():
        for host, who in HOSTS.items():
            if ref.endswith(host):
                assert mail.people == (who,), ref
        stamp = re.match(r"20\d{6}", ref)
        for kind, day in mail.dates:
            if (
                stamp and kind == "posted"
            ):  # in UTC; a mail may have been written in the evening before, by its sender's clock
                ahead = dt.datetime.strptime(stamp[0], "%Y%m%d").date() - dt.date.fromisoformat(day)  # noqa: DTZ007
                assert ahead.days in (0, 1), ref
