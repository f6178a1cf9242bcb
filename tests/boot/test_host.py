"""Hosts read from JSON: what is taken, and what is refused with one clear line."""

import pytest

from vmenter import LabError
from vmenter.boot.host import Host, host_from_json


def test_names_are_taken_in_any_case_and_order():
    golden = {"cmdline": "mds=off", "bugs": ["TAA", "MDS"], "features": ["RTM"], "arch_cap": ["MDS_NO"]}
    assert host_from_json(golden) == Host(("mds", "taa"), ("mds_no", "rtm"), "mds=off")


def test_everything_may_be_left_out():
    assert host_from_json({}) == Host() == host_from_json({"cache_bits": None, "smt": None})


def test_the_rest_of_a_host_is_read_too():
    value = {"smt": True, "ept": False, "hypervisor": True, "cache_bits": 46, "ram_mib": 1024}
    assert host_from_json(value) == Host(smt=True, ept=False, hypervisor=True, cache_bits=46, ram_mib=1024)


def test_what_a_golden_case_expects_is_no_part_of_its_host():
    assert host_from_json({"out": {}, "parsed": {}, "other_bugs_kept": True, "ignored_options": []}) == Host()


@pytest.mark.parametrize(
    ("value", "message"),
    [
        ([], "a JSON object is needed, this is a list"),
        (None, "this is null"),
        ({"bug": []}, "unknown key 'bug'; use some of: cmdline bugs"),
        ({"bugs": "mds"}, "'bugs': this is a string; give a list"),
        ({"bugs": [1]}, "'bugs': a member is no string"),
        ({"bugs": ["zenbleed"]}, "bugs: unknown name 'zenbleed'; use some of: mds"),
        ({"features": ["avx"]}, "unknown name 'avx'; use some of: rtm"),
        ({"cmdline": ["mds=off"]}, "'cmdline': this is a list; give a string"),
        ({"ept": 0}, "'ept': this is a whole number; give true or false"),
        ({"cache_bits": True}, "'cache_bits': this is true or false; give a whole number"),
        ({"cache_bits": 46.5}, "'cache_bits': this is a number with a fraction"),
        ({"cache_bits": 100}, "cache_bits: 100 is no address width"),
        ({"ram_mib": 0}, "ram_mib: 0 MiB is no memory size"),
    ],
)
def test_bad_input_is_refused_in_one_line(value, message):
    with pytest.raises(LabError) as caught:
        host_from_json(value)
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)
