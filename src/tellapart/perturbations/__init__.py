"""What happens to the verdicts of a finished run when its images are harmed: needs images and a classifier."""
