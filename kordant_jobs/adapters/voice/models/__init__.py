"""Model files: pulled from three pinned wheels, rebuilt as ONNX from their tensors, described by manifests."""
