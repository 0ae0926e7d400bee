"""The bundled model of drawn shapes: its scenes, its language, its lessons and its figures."""
