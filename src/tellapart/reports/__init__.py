"""The HTML report and its figures. No torch."""
