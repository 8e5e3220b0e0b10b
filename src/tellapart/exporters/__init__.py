"""Export runs: ONNX graphs, int8 quantization, the parity check, and the layout of model hubs."""
