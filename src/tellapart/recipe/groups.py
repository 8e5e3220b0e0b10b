"""Recipes that go together, by the name of the group. Imports nothing."""

#: What `compare` trains by default, from what sees no pixel to the network.
LADDER = ("metadata", "knn", "spectrum-linear", "svm-pca-rbf", "mlp", "cnn-small")
#: A chosen dozen: all descriptors but `embedding`, which needs weights, and all estimators between them.
CLASSICAL = (
    "knn", "pixels-naive-bayes", "eigenfaces-linear", "svm-pca-rbf", "hog-svm", "words", "color-forest", "color-boosting",
    "spectrum-linear", "noise-residual-svm", "cooccurrence-lda", "forensic-lda",
)  # fmt: skip
#: Names that stand for several recipes wherever a list of recipes is expected.
GROUPS = {"ladder": LADDER, "classical": CLASSICAL}


BASELINE = "metadata"
