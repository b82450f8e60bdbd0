"""The models as ONNX graphs: what an exported model runs, with onnxruntime or OpenVINO and without torch.

names.py      the files of an exported model, and the stamp that ties them to its weights
builder.py    nodes, constants, and weights that stay in the model's safetensors file
embedding.py  log-Mel -> what the first block reads
encoder.py    log-Mel -> logits, tokens, survivors; how many survive is an input
connector.py  tokens of the encoder -> the prefix that the language model reads
lm.py         the language model: reading a prompt, and one step
write.py      all graphs of a model folder
quantise.py   the tagging graph with int8 weights
"""
