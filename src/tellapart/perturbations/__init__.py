"""How the predictions of a finished run change when its images are perturbed; needs images and a classifier."""
