"""From a study to its tables: plan, cache, workers, the order of the stages."""
