"""The models as ONNX graphs: what an exported model runs, with onnxruntime or OpenVINO and without torch.

builder.py   nodes, constants, and weights that stay in the model's safetensors file
encoder.py   log-Mel -> logits, tokens, survivors; how many survive is an input
"""
