"""What the graphs of a model folder are called; they lie beside its weights, which they refer to.

    tag.onnx       mel, kept -> logits and the survivors of each stage; computes only what the head reads
    encode.onnx    mel, kept -> logits (if there is a head), tokens, prefix, survivors of each stage
    caption.onnx   mel, kept -> logits, prompt (B, L, E)                      \
    prefill.onnx   embeds, states -> logits over the vocabulary, states        > models that caption
    step.onnx      ids, states -> logits over the vocabulary, states          /
"""

TAG, ENCODE, CAPTION, PREFILL, STEP = "tag.onnx", "encode.onnx", "caption.onnx", "prefill.onnx", "step.onnx"
