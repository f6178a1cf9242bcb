"""ExposureMap: the audit as a map of holes."""
