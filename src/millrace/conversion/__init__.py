"""Weights into the form that llama.cpp loads: folders of safetensors, and adapters of PEFT."""
