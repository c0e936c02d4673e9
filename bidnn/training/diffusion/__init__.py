"""Where rows lie among their neighbours in both modalities: what the diffusion head learns."""
