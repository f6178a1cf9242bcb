"""By which instruction a guest is entered: the surest sign first, and null where nothing tells."""

import pytest

from vmenter.hosts.entering import NONE, SVM, VMX, entering
from vmenter.hosts.report import Report, parse


@pytest.mark.parametrize(
    ("text", "by"),
    [
        ("flags: fpu vme de pse vmx\nvendor_id: AuthenticAMD", VMX),  # flags before the vendor
        ("flags: fpu vme de pse svm", SVM),
        ("vendor_id: GenuineIntel", VMX),
        ("vendor_id: AuthenticAMD\nbugs: mds", SVM),
        ("Vendor ID: HygonGenuine", SVM),
        ("vendor_id:   Shanghai  ", VMX),
        ("model name: ZHAOXIN KaiXian KX-U6780A@2.7GHz", VMX),
        ("Model name: AMD EPYC 7742 64-Core Processor", SVM),
        ("Virtualization:        AMD-V\nmds: Not affected", SVM),
        ("bugs: spectre_v1 taa", VMX),
        ("bugs: spectre_v1 srso", SVM),
        ("mds: Vulnerable; SMT vulnerable", VMX),
        ("retbleed: Mitigation: untrained return thunk; SMT vulnerable", SVM),
        ("retbleed: Mitigation: Enhanced IBRS", VMX),
        ("spectre_v2: Mitigation: Enhanced / Automatic IBRS; IBPB: conditional", None),
        ("mds: Not affected", None),
        ("mds: Vulnerable; SMT vulnerable\ntsa: Vulnerable", None),  # no CPU has both
        ("itlb_multihit: KVM: Mitigation: VMX unsupported\nflags: fpu vme de pse vmx", NONE),
        ("itlb_multihit: KVM: Mitigation: VMX disabled", NONE),
        ("itlb_multihit: KVM: Mitigation: Split huge pages", VMX),
        ("meltdown: Unknown (XEN PV detected, hypervisor mitigation required)\nflags: fpu vme de vmx", NONE),
        ("Architecture: aarch64\nmds: Not affected", NONE),
        ("CPU implementer\t: 0x41\nmds: Not affected", NONE),
        ("6.1.0-13-arm64\nmds: Not affected", NONE),
        ("6.1.0-13-amd64\nmds: Not affected", None),
        ("Architecture: x86_64\nmds: Not affected", None),
        ("Hypervisor vendor: Xen\nVirtualization type: para\nmds: Not affected", NONE),
        ("Hypervisor vendor: Xen\nVirtualization type: full\nmds: Not affected", None),
        ("kvm_intel: VMX not supported by CPU 0\nmds: Not affected", NONE),
    ],
)
def test_the_surest_sign_decides(text, by):
    found = entering(parse(text))
    assert found.by == by
    assert found.why


def test_of_nothing_nothing_is_told():
    assert entering(Report()).by is None
