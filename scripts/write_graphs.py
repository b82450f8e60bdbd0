"""Write the ONNX graphs of a model folder beside its weights, in place.

python scripts/write_graphs.py src/sonopsis/pretrained/default
"""

import sys
from pathlib import Path

from sonopsis.folder import describe
from sonopsis.graphs.write import write_graphs

if __name__ == "__main__":
    found = describe(Path(sys.argv[1]))
    for graph in write_graphs(found.config, found.weights):
        print(graph)
