"""A run outside of tellapart: as a graph for ONNX Runtime, as a folder in the layout of model hubs, and as something to ask."""
