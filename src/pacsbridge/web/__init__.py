"""Web pages for the people who run the bridge: was it received, what became of it, what keeps it away."""
