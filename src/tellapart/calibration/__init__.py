"""Calibration maps, decision thresholds, conformal sets and the rule that abstains. No torch."""
