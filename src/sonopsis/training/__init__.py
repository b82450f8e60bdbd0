"""Making models: configuration, clips in memory, batches composed on the fly, one loop, two tasks, evaluation."""
