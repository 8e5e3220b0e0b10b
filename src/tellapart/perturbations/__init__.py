"""Changes of the predictions of a finished run when its images are perturbed; needs images and a classifier."""
