"""Kernel code as bytes: instructions, images, symbols, assembling, unpacking. It knows no host and no era."""
