"""Pure maths of noise and denoising."""
