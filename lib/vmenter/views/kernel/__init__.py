"""KernelBrowser: the sites of a kernel."""
