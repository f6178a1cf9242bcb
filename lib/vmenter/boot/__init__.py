"""What a kernel selects at boot, and why: hosts, options, VERW, L1TF, TSA."""
