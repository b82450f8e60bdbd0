"""What computes: torch, or the graphs of an exported model run by onnxruntime or OpenVINO.

base.py       what every engine does, in NumPy
choice.py     which engine a model gets
torch.py      the modules, in torch
exported.py   the graphs, without torch
runners.py    one graph on onnxruntime or OpenVINO
"""
