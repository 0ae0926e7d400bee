"""InstructCV (arXiv 2310.00390): answers drawn as images, by InstructPix2Pix."""
