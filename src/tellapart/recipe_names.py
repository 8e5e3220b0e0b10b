"""Recipes that go together, by the name of the group. Imports nothing."""

#: What `compare` trains by default, from what sees no pixel to the network.
LADDER = ("null", "neighbors", "spectrum-linear", "svm-pca-rbf", "mlp", "cnn-small")
#: A chosen dozen that needs no network: every descriptor and every estimator once.
CLASSICAL = ("neighbors", "spectrum-linear", "svm-pca-rbf")
#: Names that stand for several recipes wherever a list of recipes is asked for.
GROUPS = {"ladder": LADDER, "classical": CLASSICAL}
