"""The course in a browser's tab, as `make tab` builds it: `make tab-test`."""
