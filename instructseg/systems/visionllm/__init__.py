"""VisionLLM (v1): detection, polygons and grounding of classes that the prompt names."""
