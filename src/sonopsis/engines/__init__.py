"""What computes: torch, or the graphs of an exported model run by onnxruntime or OpenVINO.

base.py       what every engine does, in NumPy
choice.py     which engine a model gets
torch.py      the modules, in torch
exported.py   the graphs, without torch
made.py       graphs made once for models that come without
runners.py    one graph on onnxruntime or OpenVINO
"""
