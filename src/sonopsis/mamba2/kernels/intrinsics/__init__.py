"""Vector code that numba's compiler does not find by itself, each function with its NumPy reference in `reference`."""
