"""The use-cases: taking instances in, indexing them, publishing studies."""
