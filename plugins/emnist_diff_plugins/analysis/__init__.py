"""Looking at runs: curves and figures."""
