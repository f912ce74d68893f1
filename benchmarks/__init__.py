"""How fast, beside what people would use instead: always ratios of things measured in the same run."""
