"""Looking inside: what a model computes, what each part costs, what is proven, and what goes wrong."""
