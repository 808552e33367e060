"""Measures of how good a model is, as pure functions of tensors: pictures, samples, latents and factors."""
