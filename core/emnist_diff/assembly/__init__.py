"""From a configuration to an engine ready to walk."""
