"""Small weights by name: a folder for each model; and a scene that all of them solve.

``scene.jpg`` is ``draw_scene(numpy.random.default_rng(1079), 256)`` of ``recipes.systems.scenes``.
"""
